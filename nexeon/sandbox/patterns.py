"""A text that a regular expression matches: enough of the ECMA-262 syntax for the patterns of JSON schemas.

Literals, `.`, classes, the escapes `\\d \\w \\s` and their opposites, groups, alternation and quantifiers. What asks
about the surroundings of a place (look-around, back-references, `\\b`) is left out; the caller checks the outcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WORD = _LETTERS + _DIGITS + "_"
_PRINTABLE = _LETTERS + _DIGITS + "".join(chr(c) for c in range(32, 127) if not chr(c).isalnum())
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": " \t\n"}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIER = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")


def samples(pattern: str) -> Iterator[str]:
    """Texts that `pattern` matches (searched, not anchored), shortest first; none where it cannot be read."""
    for extra in (0, 1, 2, 4, 8, 16, 32, 64, 128):
        for branch in range(4):
            try:
                text = _Reader(pattern, extra, branch).read()
            except (ValueError, IndexError, OverflowError):
                return
            try:
                if re.search(pattern, text):
                    yield text
            except re.error:
                yield text


class _Reader:
    """One pass over a pattern, writing a match; `extra` repetitions beyond the least, `branch` of each alternation."""

    def __init__(self, pattern: str, extra: int, branch: int) -> None:
        self.pattern = pattern
        self.place = 0
        self.extra = extra
        self.branch = branch

    def read(self) -> str:
        text = self._alternation()
        if self.place < len(self.pattern):
            raise ValueError("unbalanced parenthesis")
        return text

    def _peek(self) -> str:
        return self.pattern[self.place] if self.place < len(self.pattern) else ""

    def _take(self) -> str:
        char = self.pattern[self.place]
        self.place += 1
        return char

    def _alternation(self) -> str:
        branches = [self._sequence()]
        while self._peek() == "|":
            self.place += 1
            branches.append(self._sequence())
        return branches[self.branch % len(branches)]

    def _sequence(self) -> str:
        pieces: list[str] = []
        while self._peek() not in ("", "|", ")"):
            atom = self._atom()
            pieces.append(atom * self._times())
        return "".join(pieces)

    def _times(self) -> int:
        least, most = 1, 1
        char = self._peek()
        if char == "*":
            least, most, self.place = 0, 1_000_000, self.place + 1
        elif char == "+":
            least, most, self.place = 1, 1_000_000, self.place + 1
        elif char == "?":
            least, most, self.place = 0, 1, self.place + 1
        elif char == "{" and (match := _QUANTIFIER.match(self.pattern, self.place)):
            least = int(match[1])
            most = least if not match[2] else int(match[3]) if match[3] else 1_000_000
            self.place = match.end()
        else:
            return 1
        if self._peek() in ("?", "+"):
            self.place += 1
        times = min(most, least + self.extra)
        if times > 100_000:
            raise OverflowError("too many repetitions")
        return times

    def _atom(self) -> str:
        char = self._take()
        if char in "^$":
            return ""
        if char == ".":
            return "x"
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == "\\":
            allowed = self._escape()
            return allowed[0] if allowed else ""
        return char

    def _group(self) -> str:
        kept = True
        if self._peek() == "?":
            self.place += 1
            mark = self._take()
            if mark in "=!":
                kept = False
            elif mark == "<" and self._peek() in "=!":
                self.place += 1
                kept = False
            elif mark in "<P":
                self.place = self.pattern.index(">", self.place) + 1
            elif mark != ":":
                raise ValueError("unknown group")
        text = self._alternation()
        if self._take() != ")":
            raise ValueError("unbalanced parenthesis")
        return text if kept else ""

    def _class(self) -> str:
        negated = self._peek() == "^"
        if negated:
            self.place += 1
        members: list[str] = []
        while True:
            char = self._take()
            if char == "]":
                break
            chars = self._escape() if char == "\\" else char
            if len(chars) == 1 and self._peek() == "-" and self.pattern[self.place + 1] != "]":
                self.place += 1
                end = self._take()
                end = self._escape() if end == "\\" else end
                members.extend(chr(code) for code in range(ord(chars), min(ord(end), ord(chars) + 255) + 1))
            else:
                members.extend(chars)
        if negated:
            return next(char for char in _PRINTABLE if char not in members)
        readable = next((char for char in members if char.isalnum()), None)
        return readable or members[0]

    def _escape(self) -> str:
        """The characters that an escape stands for: one or more, none for a place such as `\\b`."""
        char = self._take()
        if char in _CLASSES:
            return _CLASSES[char]
        if char.lower() in _CLASSES:
            return "".join(other for other in _PRINTABLE if other not in _CLASSES[char.lower()])
        if char in "bBAZz":
            return ""
        if char == "x" or (char == "u" and self._peek() != "{"):
            digits = 2 if char == "x" else 4
            code = self.pattern[self.place : self.place + digits]
            self.place += digits
            return chr(int(code, 16))
        if char in "pP" and self._peek() == "{":
            self.place = self.pattern.index("}", self.place) + 1
            return "A" if char == "p" else " "
        return _CONTROLS.get(char, char)
