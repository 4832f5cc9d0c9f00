"""Wakes who waits for something to happen."""

from __future__ import annotations

import asyncio


class Bell:
    """ring() ends every wait() that has begun; one that begins later waits for the next."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    async def wait(self) -> None:
        """Wait for the next ring."""
        await self._next.wait()
