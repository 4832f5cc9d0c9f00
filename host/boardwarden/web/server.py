"""Serves the page, in the event loop in which the boards are followed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from boardwarden._paths import reason
from boardwarden.serve.watched import Watched

from .access import Access, AccessError
from .app import Page
from .fleet_view import FleetView

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
        accepted, address = super().accept()
        found = _Accepted(self.family, self.type, self.proto, accepted.detach())
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
    """uvicorn's, closed where no complete request comes, or no answer is read, in time."""

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
        """Parse what came; once a request is complete, wait for no more of it."""
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


logging.getLogger("uvicorn").setLevel(logging.ERROR)  # else anybody's junk fills the log
_log = logging.getLogger(__name__)
_GRACE_S = 1  # for answers that are under way at the end
_MAX_WAITING = 128  # to be accepted


@dataclass(frozen=True)
class PageOptions:
    """Where the page is, and who may see it; port 0 takes any that is free.

    recording: of the boards, from which their graphs go further back.
    """

    host: str
    port: int
    access: Access
    recording: Path | None = None


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: Ctrl-C and SIGTERM are the program's; TLS begins soon."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and wait for a handshake as long as for a request; asyncio would for a minute."""
        await super().startup(sockets=[])
        config = self.config
        for each in sockets or []:
            server = await asyncio.get_running_loop().create_server(
                lambda: Connection(config, self.server_state, self.lifespan.state),
                sock=each,
                ssl=config.ssl,
                ssl_handshake_timeout=HEAD_S if config.ssl else None,
                backlog=config.backlog,
            )
            self.servers.append(server)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all connections, also those that came while it ended: uvicorn leaves them open."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # they close in the loop's next turn

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals as they are."""
        yield


@contextlib.asynccontextmanager
async def served(options: PageOptions, boards: Iterable[Watched]) -> AsyncIterator[str]:
    """Serve the page while the block runs; yield its URL.

    Raises AccessError where it cannot listen, or for a certificate that cannot be used.
    """
    tls = None if options.access.tls is None else _tls(*options.access.tls)
    listening = _listen(options.host, options.port)
    fleet = FleetView(boards)
    port = listening.getsockname()[1]
    page = Page(fleet, options.access, options.host, port, options.recording)
    config = uvicorn.Config(
        page.app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        lifespan="off",
        http=Connection,
        timeout_graceful_shutdown=_GRACE_S,
    )
    if tls is not None:
        config.load()
        config.ssl = tls
    server = _Server(config)
    tasks = [
        asyncio.create_task(fleet.run()),
        asyncio.create_task(server.serve(sockets=[listening])),
    ]
    for task in tasks:
        task.add_done_callback(_log_end)
    try:
        yield _url(options, port)
    finally:
        fleet.close()
        server.should_exit = True
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        listening.close()


def _log_end(task: asyncio.Task[None]) -> None:
    """Log why a task ended by itself, which nobody waits for."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.error("The page is served no more.", exc_info=error)


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        why = error.reason or str(error)
        raise AccessError(
            f"{certificate} and {key} are no certificate and its key: {why}."
        ) from None
    except OSError as error:
        raise AccessError(f"Cannot read {certificate} or {key}: {reason(error)}.") from None
    return context


def _listen(host: str, port: int) -> Listening:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = Listening(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_MAX_WAITING)  # who comes before the server runs waits for it
    except OSError as error:
        listening.close()
        raise AccessError(f"Cannot listen on {host}:{port}: {reason(error)}.") from None
    return listening


def _url(options: PageOptions, port: int) -> str:
    scheme = "https" if options.access.tls else "http"
    host = options.access.names[0] if options.access.names else options.host
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{port}/"
