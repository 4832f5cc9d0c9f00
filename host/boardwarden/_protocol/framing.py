"""Separates frames from printed text in what a board sends, at the speed of C.

Takes the same decisions as `warden_schema.frame.Deframer`, which runs on the board;
`tests/protocol/test_framing.py` holds the two equal. Rules: docs/wire.md, "A frame".
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from codecs import getincrementaldecoder
from collections.abc import Callable

from warden_schema import ids

_DELIMITER = bytes([ids.DELIMITER])
_ESCAPE = bytes([ids.ESCAPE])
_CONTROL = re.compile(b"[" + re.escape(ids.ESCAPED_CONTROLS) + b"]")
_TO_ESCAPE = re.compile(b"[" + re.escape(ids.ESCAPED_CONTROLS + _DELIMITER + _ESCAPE) + b"]")
_PAIR = re.compile(re.escape(_ESCAPE) + b".", re.DOTALL)
_ESCAPED = {bytes([byte]): _ESCAPE + bytes([byte ^ 0x20]) for byte in range(256)}
_UNESCAPED = {pair: byte for byte, pair in _ESCAPED.items()}
# What a board escapes; the escape itself is the last, for it must not begin another pair.
_USUAL = [(_ESCAPED[bytes([byte])], bytes([byte])) for byte in ids.ESCAPED_CONTROLS + _DELIMITER]
_ESCAPED_ESCAPE = _ESCAPED[_ESCAPE]
_CRC_START = 0xFFFF
_CRC_SIZE = 2
_MAX_HELD = 4096  # bytes of an unfinished frame, as they come


def _unescape(body: bytes) -> bytes | None:
    """Undo the escapes; None if the last one escapes nothing.

    Replacing the usual pairs one after the other is ten times faster than going through them. It
    gives the same, unless there is an escaped byte that no board escapes, the escape itself
    included; then an escape is left that stands before something else.
    """
    if (len(body) - len(body.rstrip(_ESCAPE))) % 2:
        return None
    plain = body
    for pair, byte in _USUAL:
        plain = plain.replace(pair, byte)
    if plain.count(_ESCAPE) == plain.count(_ESCAPED_ESCAPE):
        return plain.replace(_ESCAPED_ESCAPE, _ESCAPE)
    return _PAIR.sub(lambda found: _UNESCAPED[found.group()], body)


def frame(payload: bytes) -> bytes:
    """Return payload with its CRC, escaped, between delimiters."""
    checked = payload + crc_hqx(payload, _CRC_START).to_bytes(_CRC_SIZE, "big")
    return _DELIMITER + _TO_ESCAPE.sub(lambda found: _ESCAPED[found.group()], checked) + _DELIMITER


class Deframer:
    """Splits a board's stream into payloads (bytes) and text (str), in order; never raises.

    Keeps at most one unfinished frame, of which it drops what is beyond 4 KB. `bad` counts dropped
    frames, `oversize` those of them that were whole, and longer than `limit`; `text_bytes` what was
    outside frames.
    """

    def __init__(self, limit: int = ids.MAX_PAYLOAD) -> None:
        self.bad = 0
        self.oversize = 0
        self.text_bytes = 0
        self._most = limit + _CRC_SIZE
        self._decoder = getincrementaldecoder("utf-8")(errors="replace")
        self.reset()

    def reset(self) -> None:
        """Drop an unfinished frame: the stream begins anew. The counters stay."""
        self._step: Callable[[bytes, int, list[bytes | str]], int] = self._in_text
        self._unfinished = b""
        self._too_long = False
        self._decoder.reset()

    def feed(self, data: bytes) -> list[bytes | str]:
        """Return the payloads and texts that `data` completes."""
        items: list[bytes | str] = []
        data = self._unfinished + data
        self._unfinished = b""
        at = 0
        while at < len(data):
            at = self._step(data, at, items)
        return items

    def _in_text(self, data: bytes, at: int, items: list[bytes | str]) -> int:
        stop = data.find(_DELIMITER, at)
        if stop < 0:
            stop = len(data)
        else:
            self._step = self._opened
        if stop > at:
            self.text_bytes += stop - at
            # The decoder lives on across frames: a character may be split by one.
            if text := self._decoder.decode(data[at:stop]):
                items.append(text)
        return stop + 1

    def _opened(self, data: bytes, at: int, items: list[bytes | str]) -> int:
        """After a delimiter: the next byte says whether it opened a frame."""
        if data[at] == ids.DELIMITER:
            return at + 1
        self._step = self._in_frame if 0x91 <= data[at] <= 0x9F else self._in_text
        return at

    def _in_frame(self, data: bytes, at: int, items: list[bytes | str]) -> int:
        stop = data.find(_DELIMITER, at)
        end = len(data) if stop < 0 else stop
        if control := _CONTROL.search(data, at, end):
            return self._broken_off(control.start())
        if stop < 0:
            self._hold(data[at:])
            return end
        payload = self._checked(data[at:stop])
        if payload is None:
            self.bad += 1
            self._step = self._opened
        else:
            self._step = self._in_text
            items.append(payload)
        return stop + 1

    def _broken_off(self, at: int) -> int:
        """A control character inside a frame: its end was lost, and this is text again."""
        self.bad += 1
        self._too_long = False
        self._step = self._in_text
        return at

    def _hold(self, body: bytes) -> None:
        """Store an unfinished frame, unless no agent of any version has one as long."""
        self._too_long = self._too_long or len(body) > max(_MAX_HELD, 2 * self._most)
        self._unfinished = b"" if self._too_long else body

    def _checked(self, body: bytes) -> bytes | None:
        """Return the payload of what was between two delimiters; None if it is damaged."""
        too_long, self._too_long = self._too_long, False
        if too_long:
            return None
        if _ESCAPE in body:
            unescaped = _unescape(body)
            if unescaped is None:
                return None
            body = unescaped
        if len(body) <= _CRC_SIZE or crc_hqx(body, _CRC_START):
            return None  # over data and its CRC this CRC is 0
        if len(body) > self._most:
            self.oversize += 1
            return None
        return body[:-_CRC_SIZE]
