"""`python -m nexeon.cli`."""

from nexeon.cli import main

main()
