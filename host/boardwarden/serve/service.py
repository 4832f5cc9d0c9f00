"""The service of `boardwarden serve`: follows boards, exports and shows what their mirrors hold."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from boardwarden.errors import ConnectError, LinkLost
from boardwarden.transport import transport_for
from boardwarden.transport.address import parse_broker
from boardwarden.transport.mqtt import BoardState, states

from .metrics import METRICS
from .metrics import Metric as Definition
from .watched import Follower, Watched

if TYPE_CHECKING:
    from boardwarden.web.server import PageOptions

Serving = Callable[[str, str], None]  # the URL of the metrics, and of the page or ""
_RETRY_PAUSE_S = (0.2, 5.0)  # before the broker is tried again: at first, at most
_MAX_SHARDS = 10_000
_log = logging.getLogger(__name__)


class Shard(NamedTuple):
    """One of so many shares of a broker's boards, counted from 1."""

    number: int = 1
    of: int = 1

    def has(self, name: str) -> bool:
        """Return whether a board is of this share; it is of no other."""
        return zlib.crc32(name.encode()) % self.of == self.number - 1


def parse_shard(text: str) -> Shard:
    """Return the share of "2/8"; raise ValueError."""
    number, _, of = text.partition("/")
    if number.isdecimal() and of.isdecimal() and len(text) < 16:
        shard = Shard(int(number), int(of))
        if 1 <= shard.number <= shard.of <= _MAX_SHARDS:
            return shard
    raise ValueError(f"{text!r} is no share: 2/8 is the second of eight.")


class Fleet:
    """The boards that are followed, to be iterated over, from any thread; follow() in a task."""

    def __init__(self, address: str, shard: Shard = Shard()) -> None:  # noqa: B008
        """`address`: of a broker; raises AddressError."""
        self._place = parse_broker(address)
        self.pushes = False  # what boards measured while nothing came from them
        self._shard = shard
        self.followers: Sequence[Follower] = ()  # of boards that come from now on
        self._boards: tuple[Watched, ...] = ()  # replaced, never changed: other threads read it
        self._watched: dict[str, Watched] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._boards)

    async def follow(self) -> None:
        """Follow all boards of the share until cancelled, as they come and go."""
        pause, logged = _RETRY_PAUSE_S[0], ""
        try:
            while True:
                try:
                    async with states(self._place, self._on_state) as broker:
                        await broker.ended()
                    pause, logged = _RETRY_PAUSE_S[0], ""
                except (ConnectError, LinkLost) as error:
                    if str(error) != logged:
                        logged = str(error)
                        _log.warning("%s It is tried again.", logged)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RETRY_PAUSE_S[1])
        finally:
            tasks = [*self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _on_state(self, name: str, state: BoardState | None) -> None:
        if not self._shard.has(name):
            return
        if state is None:
            self._forget(name)
            return
        if name not in self._watched:
            self._watched[name] = Watched(f"{self._place}/{name}", self.followers, self.pushes)
            self._boards = tuple(self._watched.values())
        if name not in self._tasks and state.online is not False:  # else it would only fail
            self._tasks[name] = asyncio.create_task(self._watched[name].follow())

    def _forget(self, name: str) -> None:
        """Follow a board no more that its broker does not know any more."""
        if self._watched.pop(name, None) is not None:
            self._boards = tuple(self._watched.values())
            for follower in self.followers:
                follower.forget(f"{self._place}/{name}")
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            task.add_done_callback(_see_result)


def _see_result(task: asyncio.Task[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()


# --- exporting ------------------------------------------------------------------------------------


class MirrorCollector(Collector):
    """Makes families of what the boards' mirrors hold at the moment of a scrape, with no I/O.

    Samples have no timestamps: so Prometheus marks a series as stale once it is not there any more.
    """

    def __init__(self, boards: Iterable[Watched]) -> None:
        self._boards = boards

    def collect(self) -> Iterable[Metric]:
        """Yield the families that some board has figures for."""
        snapshots = [board.snapshot() for board in self._boards]
        for definition in METRICS:
            family = _family(definition)
            for snapshot in snapshots:
                for values, figure in definition.points(snapshot):
                    _add(family, definition, values, figure)
            if family.samples:
                yield family


_Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily


def _family(definition: Definition) -> _Family:
    name, text, labels = definition.prometheus_name, definition.help, definition.all_labels
    if definition.kind == "counter":
        return CounterMetricFamily(name, text, labels=labels)
    if definition.kind == "info":
        return InfoMetricFamily(name, text, labels=())
    return GaugeMetricFamily(name, text, labels=labels)


def _add(family: _Family, definition: Definition, values: Sequence[str], figure: float) -> None:
    if isinstance(family, InfoMetricFamily):
        family.add_metric((), dict(zip(definition.all_labels, values, strict=True)))
    else:
        family.add_metric(values, figure)


@contextlib.contextmanager
def scraped(host: str, port: int, boards: Iterable[Watched]) -> Iterator[str]:
    """Answer scrapes in threads of their own while the block runs; yield the URL.

    Raises OSError where the address cannot be had. Port 0 takes any that is free.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MirrorCollector(boards))
    server, thread = start_http_server(port, host, registry)
    try:
        yield _url(host, server)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _url(host: str, server: object) -> str:
    bound: socket.socket = server.socket  # type: ignore[attr-defined]  # WSGIServer's
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{bound.getsockname()[1]}/metrics"


@dataclass(frozen=True)
class Outlets:
    """Where the figures go: scrapes are answered at `listen`, a host and a port.

    collector: the URL where OTLP is pushed to; page: where the web page is, for whom; followers:
    what else is done with each board.
    """

    listen: tuple[str, int]
    collector: str | None = None
    page: PageOptions | None = None
    followers: Sequence[Follower] = ()


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:9477", "[::1]:9477" or ":9477", which is every interface.

    Raises ValueError.
    """
    host, colon, digits = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # IPv6 needs brackets: else it is unclear where the port begins
    if not (colon and digits.isascii() and digits.isdigit() and int(digits) <= 65_535):
        raise ValueError(f"{text!r} is not an address to listen on, such as 127.0.0.1:9477.")
    return host or "0.0.0.0", int(digits)


def check_boards(addresses: Sequence[str]) -> None:
    """Check the addresses; each labels the series of its board, so it is there once.

    Raises AddressError for one that means nothing, ValueError for one that is there twice.
    """
    for address in addresses:
        transport_for(address)
    twice = next((each for each in addresses if addresses.count(each) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is named twice; name each board once.")


async def serve(
    addresses: Sequence[str],
    outlets: Outlets,
    serving: Serving,
) -> None:
    """Serve until cancelled; call serving(url of metrics, url of page) once it does.

    Raises OSError where it cannot listen, AddressError or SimulatorMissing for a board that can
    never be there; one that is only away is exported as down.
    """
    pushes = outlets.collector is not None
    boards = [Watched(address, outlets.followers, pushes) for address in addresses]
    await _serve(boards, [board.follow for board in boards], outlets, serving)


async def serve_fleet(
    fleet: Fleet,
    outlets: Outlets,
    serving: Serving,
) -> None:
    """Serve the boards of a broker, as serve() does; none of them need be there."""
    fleet.pushes = outlets.collector is not None
    fleet.followers = outlets.followers
    await _serve(fleet, [fleet.follow], outlets, serving)


async def _serve(
    boards: Iterable[Watched],
    follow: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    outlets: Outlets,
    serving: Serving,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        url = stack.enter_context(scraped(*outlets.listen, boards))
        for follower in outlets.followers:
            await stack.enter_async_context(follower)
        # The inner block is left before the boards are: the last that is pushed is how they were,
        # not that they are gone.
        async with _followed(follow) as following, contextlib.AsyncExitStack() as inner:
            page_url = ""
            if outlets.collector is not None:
                from .otlp import pushed

                inner.enter_context(pushed(outlets.collector, boards))
            if outlets.page is not None:
                from boardwarden.web.server import served

                page_url = await inner.enter_async_context(served(outlets.page, boards))
            serving(url, page_url)
            done, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()


@contextlib.asynccontextmanager
async def _followed(
    follow: Sequence[Callable[[], Coroutine[Any, Any, None]]],
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Follow boards while the block runs."""
    tasks = [asyncio.create_task(each()) for each in follow]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
