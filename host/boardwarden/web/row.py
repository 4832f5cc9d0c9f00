"""A board as one row of the fleet: how it is, why, and the figures that move."""

from __future__ import annotations

from dataclasses import dataclass

from boardwarden.board import Board
from boardwarden.crashes import CAUSES
from boardwarden.grants import Threshold
from boardwarden.models import Level, Status, enum_name
from boardwarden.render.status import board_name, loss
from boardwarden.render.tables import figure, threshold_text
from boardwarden.render.text import NOTHING, count, duration, percent, printable, size
from boardwarden.serve.watched import Watched

# The worst first: the order of the page.
STATES = ("lost", "crashed", "critical", "warned", "asleep", "connecting", "well")
CRASHED_FOR_S = 900.0  # so long a board counts as crashed after an unexpected reset or exception
_LEVEL_WORDS = {Level.CRITICAL: "critical", Level.WARN: "warned"}


@dataclass(frozen=True)
class Row:
    """What the fleet's page shows of a board; texts have their units, shares are percents.

    `started` is when its uptime began, in seconds since the epoch; `policy` names what it watches.
    None: not known.
    """

    id: str
    name: str
    state: str
    note: str
    since: float | None = None
    memory: str = NOTHING
    memory_share: int | None = None
    cpu: str = NOTHING
    cpu_share: int | None = None
    lag: str = NOTHING
    operations: str = NOTHING
    started: float | None = None
    machine: str = NOTHING
    firmware: str = NOTHING
    agent: str = NOTHING
    policy: str = NOTHING


def row_of(watched: Watched, now: float) -> Row:
    """Return a board's row; no I/O. now: seconds since the epoch."""
    name = board_name(watched.address)
    board = watched.board
    if board is None:
        problem = printable(watched.problem)
        return Row(watched.address, name, "lost" if problem else "connecting", problem)
    state, note, since = health(board, now)
    status = board.status
    memory, cpu, identity = status.memory, status.cpu, status.board
    live = memory.live_bytes if memory.live_bytes is not None else memory.used_bytes
    share = live / memory.total_bytes if live is not None and memory.total_bytes else None
    return Row(
        watched.address,
        name,
        state,
        printable(note),
        since,
        memory=f"{size(live)} of {size(memory.total_bytes)}",
        memory_share=_percent(share),
        cpu=percent(cpu.usage),
        cpu_share=_percent(cpu.usage),
        lag=duration(cpu.loop_lag_worst_s),
        operations=str(len(board.operations)) if board.limits.max_operations else NOTHING,
        started=started(status),
        machine=printable(identity.machine or NOTHING),
        firmware=printable(identity.firmware or NOTHING),
        agent=printable(identity.agent or NOTHING),
        policy=policy_words(board),
    )


def started(status: Status) -> float | None:
    """Return when the board's uptime began, to 10 s, in seconds since the epoch."""
    zero = uptime_zero(status)
    return None if zero is None else round(zero / 10) * 10


def uptime_zero(status: Status) -> float | None:
    """Return when a board's uptime was 0, in seconds since the epoch; None where not known."""
    if status.last_updated is None or status.cpu.uptime_s is None:
        return None
    return status.last_updated.timestamp() - status.cpu.uptime_s


def health(board: Board, now: float) -> tuple[str, str, float | None]:
    """Return a board's state, why, and since when it is lost or asleep (seconds of the epoch)."""
    last = board.status.last_updated
    since = None if last is None else round(last.timestamp(), 1)
    if not board.connected:
        return ("asleep", "it said that it sleeps", since) if board.asleep else (
            "lost",
            loss(board),
            since,
        )  # fmt: skip
    if crash := _crash(board, now):
        return "crashed", crash, None
    worst = max(board.thresholds, key=lambda each: each.level, default=None)
    if worst is not None and worst.level in _LEVEL_WORDS:
        return _LEVEL_WORDS[Level(worst.level)], _beyond(board, worst.level), None
    if not board.status.interval_s:
        return "well", "sampling stopped", None
    return "well", "", None


def _beyond(board: Board, level: int) -> str:
    """Return which metrics are at a level, with the figures at which they came to it."""
    words = (
        f"{each.metric.replace('_', ' ')} {figure(each.metric, each.value)}"
        for each in board.thresholds
        if each.level == level
    )
    return ", ".join(words)


def _crash(board: Board, now: float) -> str:
    """Return what crashed in the last 15 minutes; empty if nothing did."""
    for restart in reversed(board.restarts):
        recent = restart.at is not None and now - restart.at.timestamp() < CRASHED_FOR_S
        if recent and restart.expected is False:
            return str(restart)
    identity, uptime = board.status.board, board.status.cpu.uptime_s
    last = next((each for each in reversed(board.resets) if not each.expected), None)
    free_s = identity.crash_free_s
    if last is not None and free_s is not None and free_s < CRASHED_FOR_S:
        what = last.error or CAUSES.get(last.cause or "", last.cause) or "nobody knows why"
        return f"the board restarted: {what}"
    for each in reversed(board.exceptions):
        if None not in (each.uptime_s, uptime) and uptime - each.uptime_s < CRASHED_FOR_S:  # type: ignore[operator]
            name = each.name or "the application"
            if each.kind == "hang":
                return f"{name} hung, and was interrupted"
            what = f"{each.kind} {each.name}" if each.name else f"the {each.kind}"
            return f"{what} ended: {each.error}"
    return ""


def policy_words(board: Board) -> str:
    """Return what a board watches and allows, in a line: boards of one policy have one text."""
    limit = board.limits.max_operations
    if limit is None:
        return "only measures"
    watched = [f"{each.metric}: {_settings(each)}" for each in board.thresholds]
    return printable("; ".join([count(limit, "operation"), *watched]))


def _settings(each: Threshold) -> str:
    try:
        return threshold_text(each)
    except (ValueError, TypeError):  # a newer agent's
        return enum_name(each.action)


def _percent(share: float | None) -> int | None:
    return None if share is None else round(100 * share)
