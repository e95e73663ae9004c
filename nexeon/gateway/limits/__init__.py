"""How much may be asked: rates, what is under way at once, and the headers that tell of it."""
