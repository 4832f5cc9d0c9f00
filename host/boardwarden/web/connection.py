"""A browser's connection to the page: one that sends nothing, or does not read, does not stay."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 500  # one more is closed at once: the boards need files, too
# In which a TLS handshake has to be done, a request's head to come, and the rest of a body that was
# refused.
HEAD_S = 10.0
STALL_S = 30.0  # so long a browser may not read what waits for it


class Listening(socket.socket):
    """A listening socket that counts whom it accepted, from then on: also who begins no TLS."""

    def __init__(self, *given: int) -> None:
        super().__init__(*given)
        self._open: set[_Accepted] = set()

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection; one too many is closed, and raises ConnectionAbortedError."""
        number, address = self._accept()  # type: ignore[attr-defined]
        found = _Accepted(self.family, self.type, self.proto, number)
        if len(self._open) >= MAX_CONNECTIONS:
            found.close()
            raise ConnectionAbortedError
        found.counted = self._open
        self._open.add(found)
        return found, address


class _Accepted(socket.socket):
    counted: set[_Accepted] | None = None

    def close(self) -> None:
        """Close, and count no more."""
        if self.counted is not None:
            self.counted.discard(self)
        super().close()


class Connection(H11Protocol):
    """uvicorn's, with an end for whoever sends no whole request, or reads no answer."""

    _waiting: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:  # on Windows asyncio does not call accept()
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        self._stop_stalling()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Send no more, as the browser does not read; wait for that, not for ever."""
        super().pause_writing()
        self._stop_stalling()
        self._stalled = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Send again."""
        self._stop_stalling()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take what came; once a request is whole, there is nothing to wait for."""
        super().data_received(data)
        if self._is_answering():
            self._stop_waiting()
        else:
            self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self._is_answering():
            self._wait()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        if self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_stalling(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
