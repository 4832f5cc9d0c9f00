"""Finds out, from what comes back, whether a board that does not answer sits at its REPL.

MicroPython's friendly REPL echoes printable ASCII and drops the rest, so of a SUBSCRIBE frame it
sends back a few known characters. A terminal that echoes sends the whole frame back. Nothing is
sent to find out: a Ctrl-C would stop the user's program.
"""

from __future__ import annotations

_PROMPT = ">>> "
_TAIL = 512  # characters that are remembered


class PromptWatch:
    """Collects the evidence until the first HELLO; `seen` is the verdict."""

    def __init__(self, sent: bytes) -> None:
        """`sent`: the beginning of each frame that is sent until the board answers."""
        self._echo = "".join(chr(byte) for byte in sent if 32 <= byte <= 126)
        self._text = ""
        self.seen = False

    def text(self, text: str) -> None:
        """Look at what the board printed."""
        self._text = (self._text + text)[-_TAIL:]
        self.seen = self.seen or self._echo in self._text or self._text.endswith(_PROMPT)

    @property
    def last_line(self) -> str:
        """The last line of text that came, "" if there was none."""
        lines = self._text.strip().splitlines()
        return lines[-1].strip() if lines else ""

    def echo(self) -> None:
        """A frame of our own came back."""
        self.seen = True
