"""How well the link to a board works, measured for a few seconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from boardwarden._clock import attended_s, unread_s
from boardwarden.board import Board
from boardwarden.crashes import TWO_BOARDS
from boardwarden.errors import BoardError, BoardRestarted, RequestError, RequestTimeout
from boardwarden.models import LinkStatus, Model
from boardwarden.render.text import count, duration
from boardwarden.transport.address import is_mqtt
from warden_schema import ids

_PING_EVERY_S = 0.1
_LATE_S = 0.3  # a request without a reply is sent again after that
_SLOW_S = 0.15
# By a broker a request waits until the application reads it, and then for the agent's next turn.
_LATE_BY_BROKER_S = 1.0
_SLOW_BY_BROKER_S = 0.5
# Without an event loop it waits for the next call of a timer or of the application's own loop, and
# for the host's share of the core: half a second at an RP2040 whose agent a timer calls.
_LATE_WITHOUT_LOOP_S = 2.0
_SLOW_WITHOUT_LOOP_S = 1.0
_STALL_S = 0.25
_SAMPLES_PER_DROP = 5


@dataclass(frozen=True)
class LinkHealth(Model):
    """What was seen in `measured_s` seconds; `problems` is empty for a healthy link.

    A late answer is no lost one: it is blamed on the line only where the line damaged or lost
    frames, in either direction.
    """

    measured_s: float = 0.0
    requests: int = 0
    lost: int = 0  # of these: got no reply, or had to be sent again over a line that loses frames
    late: int = 0  # of the others: their answers took 0.3 s or more; by a broker 1, with no loop 2
    latency_s: float | None = None  # of a request and its reply: the median
    latency_worst_s: float | None = None
    samples: int = 0
    gaps: int = 0
    bad_frames: int = 0  # that came here damaged
    malformed_frames: int = 0  # that came here whole, and make no sense to this host
    bad_requests: int = 0  # that came to the board damaged
    dropped_frames: int = 0
    reconnects: int = 0
    restarts: int = 0
    refused: int = 0  # of the requests: were answered with an error
    stall_s: float | None = None  # the longest step of the board's loop, as the board measured it
    connected: bool = True  # at the end
    open: bool = True  # likewise: the port or connection itself
    by_broker: bool = False  # over MQTT
    has_loop: bool = True  # the board's application runs asyncio
    two_boards: bool = False  # answer at one address
    problems: tuple[str, ...] = ()

    @property
    def loss(self) -> float:
        """The share of requests that were lost, of one."""
        return self.lost / self.requests if self.requests else 0.0

    @property
    def slow(self) -> bool:
        """Whether most answers take so long that somebody would notice."""
        _, slow_s = _limits(self.by_broker, self.has_loop)
        return self.latency_s is not None and self.latency_s >= slow_s

    @property
    def lossy(self) -> bool:
        """Whether frames were lost or damaged on the line."""
        return bool(self.gaps or self.bad_frames or self.bad_requests)

    @property
    def stalls(self) -> bool:
        """Whether the board's loop stood still for so long that somebody would notice."""
        return self.stall_s is not None and self.stall_s >= _STALL_S


def _limits(by_broker: bool, has_loop: bool) -> tuple[float, float]:
    """Return how many seconds make one answer late, and answers slow."""
    if not has_loop:
        return _LATE_WITHOUT_LOOP_S, _SLOW_WITHOUT_LOOP_S
    return (_LATE_BY_BROKER_S, _SLOW_BY_BROKER_S) if by_broker else (_LATE_S, _SLOW_S)


async def measure(
    board: Board,
    seconds: float,
    progress: Callable[[float], None] = lambda elapsed: None,
) -> LinkHealth:
    """Send requests for some seconds, one after the other, and count what goes wrong."""
    before, latencies, unanswered, refused = Counters.of(board), list[float](), 0, 0
    seen = Samples()
    watching = asyncio.create_task(seen.watch(board))
    begin = attended_s()
    try:
        while (elapsed := attended_s() - begin) < seconds:
            progress(elapsed)
            try:
                latency_s = await board.ping()
                if not unread_s():  # else it is this host that was slow
                    latencies.append(latency_s)
            except (RequestTimeout, BoardRestarted):
                unanswered += 1
            except RequestError:
                refused += 1
            await asyncio.sleep(_PING_EVERY_S)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    took = attended_s() - begin
    requests = RequestCounts(latencies, unanswered, refused)
    has_loop = board.capabilities["loop_lag"].reason != ids.REASONS[ids.NO_ASYNCIO]
    by_broker = is_mqtt(board.address)
    return evaluated(before, Counters.of(board), requests, seen, took, by_broker, has_loop)


@dataclass(frozen=True)
class RequestCounts:
    """What became of requests: the seconds of answers, how many had none, or an error."""

    latencies: list[float] = field(default_factory=list)
    unanswered: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Counters:
    """What board and host have counted of a link until a moment, and how it is then."""

    link: LinkStatus = field(default_factory=LinkStatus)
    bad_requests: int = 0
    restarts: int = 0
    connected: bool = True
    two_boards: bool = False

    @classmethod
    def of(cls, board: Board) -> Counters:
        """Return those of a board, now."""
        bad_requests = board.status.overhead.bad_frames or 0
        two_boards = any(each.other_board for each in board.restarts)
        return cls(board.link, bad_requests, board.restart_count, board.connected, two_boards)


class Samples:
    """The samples that came: how many, and the longest step of the loop in them."""

    def __init__(self, count: int = 0, stall_s: float | None = None) -> None:
        self.count = count
        self.stall_s = stall_s

    async def watch(self, board: Board) -> None:
        """Count until cancelled, or until the board is closed."""
        with contextlib.suppress(BoardError):
            while True:
                sample = await board.wait_sample()
                self.count += 1
                if sample.cpu.loop_lag_worst_s is not None:
                    self.stall_s = max(self.stall_s or 0.0, sample.cpu.loop_lag_worst_s)


def evaluated(
    before: Counters,
    after: Counters,
    requests: RequestCounts,
    seen: Samples,
    took: float,
    by_broker: bool = False,
    has_loop: bool = True,
) -> LinkHealth:
    """Return what follows from counters, requests and samples."""
    from statistics import median as median_of  # slow to import

    late_s, _ = _limits(by_broker, has_loop)
    latencies = requests.latencies
    late = sum(latency >= late_s for latency in latencies)
    was, now = before.link, after.link
    found = LinkHealth(
        measured_s=took,
        requests=len(latencies) + requests.unanswered + requests.refused,
        refused=requests.refused,
        latency_s=median_of(latencies) if latencies else None,
        latency_worst_s=max(latencies, default=None),
        samples=seen.count,
        gaps=now.gaps - was.gaps,
        bad_frames=now.bad_frames - was.bad_frames,
        malformed_frames=now.malformed_frames - was.malformed_frames,
        bad_requests=max(0, after.bad_requests - before.bad_requests),  # it may have restarted
        dropped_frames=(now.dropped_frames or 0) - (was.dropped_frames or 0),
        reconnects=now.reconnects - was.reconnects,
        restarts=after.restarts - before.restarts,
        stall_s=seen.stall_s,
        connected=after.connected,
        open=now.open,
        by_broker=by_broker,
        has_loop=has_loop,
        two_boards=after.two_boards,
    )
    again = late if found.lossy and not found.slow else 0
    found = replace(found, lost=requests.unanswered + again, late=late - again)
    return replace(found, problems=tuple(_problems(found)))


def _problems(found: LinkHealth) -> list[str]:
    if not found.connected and not found.open:
        return ["the port or connection was lost during the check: look at power and cable"]
    if not found.connected:
        return [
            "the board fell silent during the check, though the line is there: it hangs, sleeps, "
            "or lost its power"
        ]
    if found.two_boards:
        return [TWO_BOARDS]  # the rest follows from that
    problems = []
    if found.restarts:
        problems.append(f"the board restarted {count(found.restarts, 'time')} during the check")
    if found.refused:
        problems.append(
            f"{count(found.refused, 'request')} that every agent does got an error for an answer"
        )
    elif not found.latency_s:
        problems.append("no request was answered")
    elif found.stalls:
        problems.append(f"the board's loop stalls, for {duration(found.stall_s)} at worst")
    elif found.slow and found.by_broker:
        problems.append(
            "answers are slow: the application seldom reads its messages (check_msg), something "
            "blocks the board's loop, or the network is slow"
        )
    elif found.slow and not found.has_loop:
        problems.append(
            "answers are slow: the application seldom calls warden.poll(), something blocks it, or "
            "the line is slow"
        )
    elif found.slow:
        problems.append("answers are slow: something blocks the board's loop, or the line is slow")
    elif found.late:
        worst = duration(found.latency_worst_s)
        problems.append(f"some answers are late, by {worst} at worst: the loop or the line stalls")
    if found.malformed_frames:
        what = count(found.malformed_frames, "frame")
        problems.append(
            f"{what} came whole, and made no sense here: install boardwarden and the agent in the "
            "same version"
        )
    if found.lossy:
        problems.append("frames get lost or damaged on the line: look at cable and connectors")
    elif found.lost and found.latency_s and not found.restarts:
        problems.append(f"{count(found.lost, 'request')} got no answer in time")
    # A sample that something else overtook is no fault of the line: one, or one of five.
    if found.dropped_frames > max(1, found.samples // _SAMPLES_PER_DROP):
        problems.append("the board drops frames, because the line does not take all that it sends")
    if found.reconnects:
        problems.append("the link was lost during the check, and came back")
    return problems
