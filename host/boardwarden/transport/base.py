"""The interface of a transport: open, read, write, close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from boardwarden.errors import ConnectError


class Transport(Protocol):
    """Carries bytes to and from one board, and never resets it.

    May be opened again after close(): that is how the session reconnects.
    """

    @property
    def address(self) -> str:
        """The address, as the user gave it."""
        ...

    async def open(self) -> None:
        """Open the connection; raise a subclass of ConnectError if that fails."""
        ...

    async def read(self) -> bytes:
        """Wait for bytes and return them; b"" when the other end is gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Send all of data; raise LinkLost when the other end is gone."""
        ...

    async def close(self) -> None:
        """Close the connection; may be called twice."""
        ...


@runtime_checkable
class Direct(Transport, Protocol):
    """A transport that can also read and write without waiting for the event loop."""

    async def receive(self, received: Callable[[bytes], None]) -> None:
        """Pass bytes to received() as they come; return when the other end is gone."""
        ...

    def offer(self, data: bytes) -> bool:
        """Send all of data at once and return True, or return False: a part of it may be sent."""
        ...


@runtime_checkable
class Shared(Transport, Protocol):
    """A transport by which all hosts read one stream of a board, and write to it.

    `online`: what is known apart from the stream of whether the board is there; None: nothing.
    """

    online: bool | None

    def watch(self, on_presence: Callable[[], None]) -> None:
        """Call on_presence() whenever `online` is heard of, from now on."""
        ...

    def absence(self) -> ConnectError | None:
        """Return the error that says why the board does not answer; None where nobody knows."""
        ...


@runtime_checkable
class Mortal(Transport, Protocol):
    """A transport whose other end may vanish with nothing that says so: it is opened anew then."""

    silence_is_death: bool
