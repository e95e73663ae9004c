"""What `tests.bench.terminal` presses besides the lists: every kind of key, until what it brings about is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

ANY: Final = ""
"""Whatever is drawn next."""

ESCAPE: Final = "\x1b"
ENTER: Final = "\r"
TAB: Final = "\t"
DOWN: Final = f"{ESCAPE}[B"
SAVE: Final = "\x13"
PICK: Final = "\x0f"
PALETTE: Final = "\x10"


@dataclass(frozen=True, slots=True)
class Press:
    """`keys`, and a word that is drawn because of them. Without a name they are pressed to get there only."""

    name: str
    keys: str
    word: str


def presses(key: str, account: str) -> Iterator[Press]:
    """From the list of keys, and back to it. `key` and `account` are the first ones of their lists, which are drawn
    wherever these come in front again."""
    model = "Out $/M"
    back = Press("Escape, out of a dialog", ESCAPE, key)
    yield Press("?, the help", "?", "command palette")
    yield Press("Escape, out of the help", ESCAPE, key)
    yield Press("ctrl+p, the palette", PALETTE, "Search for commands")
    yield Press("a letter in the palette", "k", "Go to Keys")
    yield Press("an arrow in the palette", DOWN, "Go to")
    yield Press("Escape, out of the palette", ESCAPE, key)
    yield Press("/, the search", "/", "a part of the name")
    yield Press("Escape, out of the search", ESCAPE, key)
    yield Press("n, the form of a new key", "n", "What is left empty")
    yield Press("a letter in a form", "x", "x")
    yield Press("Tab, in a form", TAB, ANY)
    yield Press("an arrow, in a form", DOWN, ANY)
    yield Press("ctrl+o, what can be picked", PICK, "none marked")
    yield Press("a letter, among what can be picked", "k", "k")
    yield Press("Escape, out of a list to pick of", ESCAPE, "What is left empty")
    yield Press("ctrl+s, with a field that is wrong", SAVE, "must not be empty")
    yield back
    yield Press("e, the form of a key", "e", "What is left empty")
    yield back
    yield Press("t, rotating a key", "t", "A new secret")
    yield Press("Enter, on to its question", ENTER, "is refused after")
    yield Press("Escape, from a question back to its form", ESCAPE, "A new secret")
    yield back
    yield Press("x, a question", "x", "for good")
    yield Press("Tab, to the other answer", TAB, "Delete")
    yield back
    yield Press("Enter, one key", ENTER, "Last used")
    yield Press("q, back to the keys", "q", key)
    yield Press("", "2", account)
    yield Press("+, credit for an account", "+", "available.")
    yield Press("Escape, out of a dialog", ESCAPE, account)
    yield Press("Enter, one account", ENTER, "The ledger is empty")
    yield Press("q, back to the accounts", "q", account)
    yield Press("n, the form of a new account", "n", "First grant")
    yield Press("Escape, out of a dialog", ESCAPE, account)
    yield Press("", "4", "Provider")
    yield Press("n, the form of a provider key", "n", "kept encrypted")
    yield Press("Escape, out of a dialog", ESCAPE, "Provider")
    yield Press("", "5", model)
    yield Press("j, in the models", "j", "owned by")
    yield Press("o, the routes", "o", "Methods")
    yield Press("q, back to the models", "q", model)
    yield Press("c, the configuration", "c", "Copy as JSON")
    yield Press("q, back to the models", "q", model)
    yield Press("e, explain", "e", "What each target")
    yield Press("Escape, back to the models", ESCAPE, model)
    yield Press("", "6", "Status")
    yield Press("Enter, one request", ENTER, "What happened")
    yield Press("q, back to the requests", "q", "Status")
    yield Press("", "7", "Ask")
    yield Press("i, into the prompt", "i", ANY)
    yield Press("a letter in the prompt", "w", "w")
    yield Press("Escape, out of the prompt", ESCAPE, ANY)
    yield Press("v, the raw answer", "v", ANY)
    yield Press("", "v", ANY)
    yield Press("y, whose key", "y", "Whose key?")
    yield Press("Escape, out of a dialog", ESCAPE, "Ask")
    yield Press("", "1", "requests/s")
    yield Press("s, another span", "s", "The last")
    yield Press("", "ss", "The last 2")
    yield Press("q, the screen before", "q", "Ask")
    yield Press("", "3", key)
    yield Press("ctrl+t, the other theme", "\x14", key)
    yield Press("a screen, in another theme than before", "2", account)
    yield Press("", "3", key)
    yield Press("", "\x14", key)
