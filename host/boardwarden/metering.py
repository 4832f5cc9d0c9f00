"""Has the board tell its meters for as long as somebody watches them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from .errors import LinkLost, RequestError

_FOR_MS = 6000  # so long after the last request the board stops by itself
_RENEW_S = 2.0


class Metering:
    """`ask` has the board tell its meters for so many ms; `watched` learns if somebody watches."""

    def __init__(
        self, ask: Callable[[int], Awaitable[object]], watched: Callable[[bool], None]
    ) -> None:
        self._ask = ask
        self._watched = watched
        self._watchers = 0
        self._renewing: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        """Keep the meters coming inside the block; several blocks share them."""
        await self._ask(_FOR_MS)
        if not self._watchers:
            self._watched(True)
        self._watchers += 1
        self._renewing = self._renewing or asyncio.create_task(self._renew())
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                await self._end()

    async def close(self) -> None:
        """Ask no more."""
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _end(self) -> None:
        await self.close()
        with contextlib.suppress(RequestError, LinkLost):  # then it stops by itself
            await self._ask(0)
        if not self._watchers:
            self._watched(False)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            with contextlib.suppress(RequestError):  # the board may be back next time
                await self._ask(_FOR_MS)
