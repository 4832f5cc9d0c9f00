"""Gives what the board prints to any number of listeners; late ones get recent text first."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from boardwarden._protocol.waiting import Event

MAX_CHARACTERS = 256 * 1024  # for late listeners and for slow ones


class _Buffer:
    """Text that waits to be read; drops the oldest when there is too much."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        self._size = sum(map(len, pieces))

    def put(self, text: str) -> None:
        self.pieces.append(text)
        self._size += len(text)
        if self._size > MAX_CHARACTERS:
            newest = "".join(self.pieces)[-MAX_CHARACTERS // 2 :]
            self.pieces, self._size = [newest], len(newest)

    def pop_all(self) -> str:
        text = "".join(self.pieces)
        self.pieces, self._size = [], 0
        return text


class Console:
    """What the board printed; at most the last 256 Ki characters wait for a listener."""

    def __init__(self) -> None:
        self._recent = _Buffer([])
        self._listeners: set[_Buffer] = set()
        self._changed = Event()
        self._closed = False

    def put(self, text: str) -> None:
        """Give text to all listeners."""
        self._recent.put(text)
        for listener in self._listeners:
            listener.put(text)
        self._changed.notify_all()

    def close(self) -> None:
        """End the text: listeners end when they have read all of it."""
        self._closed = True
        self._changed.notify_all()

    async def listen(self) -> AsyncGenerator[str, None]:
        """Yield the text printed recently, then each piece as it comes, until close()."""
        buffer = _Buffer(self._recent.pieces.copy())
        self._listeners.add(buffer)
        try:
            while True:
                if text := buffer.pop_all():
                    yield text
                elif self._closed:
                    return
                else:
                    await self._changed.wait()
        finally:
            self._listeners.discard(buffer)
