"""The end of a text that grows: what happened, what the application printed."""

from __future__ import annotations

import re
from collections import deque

MAX_CHARACTERS = 64 * 1024  # characters
_STRANGE = "\N{REPLACEMENT CHARACTER}"
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])")
_UNFINISHED = re.compile(r"(?:\r|\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200})?)\Z")


class Tail:
    """Keeps the last 64 Ki characters; places count the pieces that were ever put."""

    def __init__(self) -> None:
        self._pieces: deque[str] = deque()
        self._size = 0
        self.end = 0

    def put(self, text: str) -> None:
        """Add text; the oldest goes."""
        self._pieces.append(text)
        self.end += 1
        self._size += len(text)
        while self._size > MAX_CHARACTERS and len(self._pieces) > 1:
            self._size -= len(self._pieces.popleft())

    def since(self, place: int) -> str:
        """Return the text from a place on, as far as it is still there."""
        gone = self.end - len(self._pieces)
        return "".join(list(self._pieces)[max(0, place - gone) :])


class Printable:
    """Makes printed text harmless to a terminal: no escape sequences, no control characters."""

    def __init__(self) -> None:
        self._unfinished = ""  # may be the begin of something

    def feed(self, text: str) -> str:
        """Return what of the text can be shown; the begin of a sequence waits for its end."""
        text = self._unfinished + text
        unfinished = _UNFINISHED.search(text)
        at = unfinished.start() if unfinished else len(text)
        self._unfinished = text[at:]
        text = _ESCAPE.sub("", text[:at]).replace("\r\n", "\n").replace("\r", "\n")
        return "".join(char if char.isprintable() or char in "\n\t" else _STRANGE for char in text)
