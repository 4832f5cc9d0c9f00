"""Carries payloads and text over a transport, and opens that again with backoff when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from boardwarden._clock import wait_until
from boardwarden.errors import ConnectError, LinkLost
from boardwarden.transport.base import Direct, Transport

from .framing import Deframer, frame

_log = logging.getLogger(__name__)
BACKOFF_S = (0.2, 5.0)  # before the transport is opened again: at first, at most


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
