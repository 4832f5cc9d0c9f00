"""How well the link to a board works, measured for a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from boardwarden.board import Board
from boardwarden.errors import BoardError, BoardRestarted, RequestTimeout
from boardwarden.models import LinkStatus, Model

_PING_EVERY_S = 0.1
_REPEATED_S = 0.3  # a request without a reply is sent again after that
_SLOW_S = 0.15
_SAMPLES_PER_DROP = 5


@dataclass(frozen=True)
class LinkHealth(Model):
    """What was seen in `measured_s` seconds; `problems` is empty for a healthy link."""

    measured_s: float = 0.0
    requests: int = 0
    lost: int = 0  # of these: had to be sent again, or got no reply at all
    latency_s: float | None = None  # of a request and its reply: the median
    latency_worst_s: float | None = None
    samples: int = 0
    gaps: int = 0
    bad_frames: int = 0
    dropped_frames: int = 0
    reconnects: int = 0
    connected: bool = True  # at the end
    problems: tuple[str, ...] = ()

    @property
    def loss(self) -> float:
        """The share of requests that were lost, of one."""
        return self.lost / self.requests if self.requests else 0.0

    @property
    def slow(self) -> bool:
        """Whether most answers take so long that somebody would notice."""
        return self.latency_s is not None and self.latency_s >= _SLOW_S


async def measure(
    board: Board, seconds: float, progress: Callable[[float], None] = lambda elapsed: None
) -> LinkHealth:
    """Send requests for some seconds, one after the other, and count what goes wrong."""
    before, latencies, unanswered, samples = board.link, [], 0, 0
    counting = asyncio.create_task(_count_samples(board))
    begin = time.monotonic()
    try:
        while (elapsed := time.monotonic() - begin) < seconds:
            progress(elapsed)
            try:
                latencies.append(await board.ping())
            except (RequestTimeout, BoardRestarted):
                unanswered += 1
            await asyncio.sleep(_PING_EVERY_S)
    finally:
        counting.cancel()
        (found,) = await asyncio.gather(counting, return_exceptions=True)
        samples = found if isinstance(found, int) else 0
    took = time.monotonic() - begin
    return _evaluated(before, board.link, latencies, unanswered, samples, took, board.connected)


async def _count_samples(board: Board) -> int:
    count = 0
    try:
        while True:
            await board.wait_sample()
            count += 1
    except (asyncio.CancelledError, BoardError):
        return count


def _evaluated(
    before: LinkStatus,
    after: LinkStatus,
    latencies: list[float],
    unanswered: int,
    samples: int,
    took: float,
    connected: bool,
) -> LinkHealth:
    from statistics import median as median_of  # slow to import

    median = median_of(latencies) if latencies else None
    slow = median is not None and median >= _SLOW_S  # then late is not lost
    again = 0 if slow else sum(latency >= _REPEATED_S for latency in latencies)
    found = LinkHealth(
        measured_s=took,
        requests=len(latencies) + unanswered,
        lost=unanswered + again,
        latency_s=median,
        latency_worst_s=max(latencies, default=None),
        samples=samples,
        gaps=after.gaps - before.gaps,
        bad_frames=after.bad_frames - before.bad_frames,
        dropped_frames=(after.dropped_frames or 0) - (before.dropped_frames or 0),
        reconnects=after.reconnects - before.reconnects,
        connected=connected,
    )
    return LinkHealth(**{**found.__dict__, "problems": tuple(_problems(found))})


def _problems(found: LinkHealth) -> list[str]:
    if not found.connected:
        return ["the board vanished during the check: look at its power and its cable"]
    problems = []
    if not found.latency_s:
        problems.append("no request was answered")
    elif found.slow:
        problems.append("answers are slow: something blocks the board's loop, or the line is slow")
    if found.lost or found.gaps or found.bad_frames:
        problems.append("frames get lost or damaged on the line: look at cable and connectors")
    # A sample that something else overtook is no fault of the line: one, or one of five.
    if found.dropped_frames > max(1, found.samples // _SAMPLES_PER_DROP):
        problems.append("the board drops frames, because the line does not take all that it sends")
    if found.reconnects:
        problems.append("the link was lost during the check, and came back")
    return problems
