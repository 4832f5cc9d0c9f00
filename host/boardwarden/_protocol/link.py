"""Carries payloads and text over a transport, and opens that again with backoff when it is gone.

What a board sends is separated into frames and printed text at the speed of C: with the decisions
of `warden_schema.frame.Deframer`, which runs on the board; `tests/protocol/test_framing.py` holds
the two equal. Rules: docs/wire.md, "A frame".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from binascii import crc_hqx
from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import Protocol

from boardwarden._clock import wait_until
from boardwarden.errors import ConnectError, LinkLost
from boardwarden.transport.base import Direct, Transport
from warden_schema import ids

_log = logging.getLogger(__name__)
BACKOFF_S = (0.2, 5.0)  # before the transport is opened again: at first, at most
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


# --- frames ---------------------------------------------------------------------------------------


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


# --- the link -------------------------------------------------------------------------------------


class LinkListener(Protocol):
    """Acts on what happens on the link: the session; none of these may raise."""

    def on_open(self) -> None:
        """The transport is open, for the first time or again."""

    def on_received(self, items: list[bytes | str]) -> None:
        """These payloads and texts came, in this order."""

    def on_lost(self) -> None:
        """The transport is gone."""


class Link:
    """One transport, from open() to close(); never resets the board.

    `sign` returns a payload as it is sent, or None if it cannot be sent any more.
    """

    def __init__(
        self,
        transport: Transport,
        listener: LinkListener,
        sign: Callable[[bytes], bytes | None],
    ) -> None:
        self.reconnects = 0
        self.is_open = False
        self.deframer = Deframer()
        self._transport = transport
        self._direct = transport if isinstance(transport, Direct) else None
        self._silence_is_death = getattr(transport, "silence_is_death", False)
        self._listener = listener
        self._sign = sign
        self._pause_s = BACKOFF_S[0]
        self._writing = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """The transport's address, as the user gave it."""
        return self._transport.address

    async def open(self) -> None:
        """Open the transport for the first time; raise a ConnectError if that fails."""
        await self._transport.open()
        self._on_open()

    async def run(self) -> None:
        """Read until cancelled, and open the transport again whenever it is gone."""
        while True:
            await self._read_until_lost()
            self.is_open = False
            self._listener.on_lost()
            await self._transport.close()
            await self._reopen()

    async def send(self, payload: bytes, deadline: float | None = None) -> None:
        """Send a payload, signed and in a frame; where the link is lost the reader notices that.

        Raises asyncio.TimeoutError at a deadline of the event loop's clock.
        """
        if deadline is None:
            await self._send(payload)
        elif not self._offer(payload):
            await wait_until(self._send(payload), deadline)

    def _offer(self, payload: bytes) -> bool:
        """Send a payload at once and return True, or return False: then _send() it."""
        if self._direct is None or not self.is_open or self._writing.locked():
            return False
        signed = self._sign(payload)
        return signed is None or self._direct.offer(frame(signed))

    async def _send(self, payload: bytes) -> None:
        signed = self._sign(payload)  # only now: what is signed first has to be written first
        if signed is not None:
            with contextlib.suppress(LinkLost):
                await self.write(frame(signed))

    async def write(self, data: bytes) -> None:
        """Send bytes as they are; raise LinkLost when there is no link."""
        async with self._writing:
            if not self.is_open:
                raise LinkLost(f"There is no link to {self.address}; try again later.")
            try:
                await self._transport.write(data)
            except LinkLost:
                if self._reader is not None:
                    self._reader.cancel()
                raise

    def on_data(self, data: bytes) -> None:
        """Pass on what these bytes complete."""
        self._listener.on_received(self.deframer.feed(data))

    def on_silence(self) -> None:
        """Open a transport anew that may be dead with nothing that says so."""
        if self._silence_is_death and self._reader is not None and self.is_open:
            _log.info("%s: silent for long: connecting anew", self.address)
            self._reader.cancel()

    async def close(self) -> None:
        """Close the transport for good; run() must have ended."""
        self.is_open = False
        await self._transport.close()

    def reset_backoff(self) -> None:
        """The board answered: if the link is lost again, begin with a short pause."""
        self._pause_s = BACKOFF_S[0]

    async def _read_until_lost(self) -> None:
        self._reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait([self._reader])
        finally:
            self._reader.cancel()  # write() does so, too, when it finds that the link is lost
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    async def _read(self) -> None:
        try:
            if self._direct is not None:
                await self._direct.receive(self.on_data)
                return
            while data := await self._transport.read():
                self.on_data(data)
        except (LinkLost, OSError) as error:
            _log.debug("%s: cannot be read: %s", self.address, error)

    async def _reopen(self) -> None:
        while not self.is_open:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, BACKOFF_S[1])
            try:
                await self._transport.open()
            except (ConnectError, LinkLost, OSError) as error:
                _log.debug("%s: cannot be opened again: %s", self.address, error)
            else:
                self.reconnects += 1
                self._on_open()

    def _on_open(self) -> None:
        self.deframer.reset()
        self.is_open = True
        self._listener.on_open()
