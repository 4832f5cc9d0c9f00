"""The texts of the live view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boardwarden.board import Board
from boardwarden.models import Level, enum_name
from boardwarden.render.status import (
    Row,
    board_name,
    link_state,
    over_budget,
    status_rows,
    trend_rows,
)
from boardwarden.render.tables import limit_rows, memory_profile_rows, session_rows
from boardwarden.render.text import NOTHING, columns, count, duration, integer, percent, size
from boardwarden.transport.address import short_names

from .feed import Feed

_OVERVIEW = ("", "board", "link", "cpu", "used", "live", "lag max", "ops", "level")
_TREND_S = 60.0
_LATE = 3  # intervals without a sample, and
_LATE_S = 2.0  # so much more, make figures old


def head(feed: Feed) -> tuple[str, str]:
    """Return what is to the left and to the right in the first line."""
    board = feed.board
    if board is None:
        return feed.name, "not connected" if feed.problem else "connecting"
    if not board.connected:
        return feed.name, "ASLEEP" if board.asleep else "LINK LOST"
    if old := old_figures(board):
        return feed.name, f"{every(board)} · {old}"
    up = duration(board.status.cpu.uptime_s)
    return feed.name, f"{every(board)} · up {up} · connected"


def old_figures(board: Board) -> str:
    """Return how old the figures are, where samples are late or have stopped; else ""."""
    status = board.status
    if status.age_s is None or status.age_s < _LATE * (status.interval_s or 0.0) + _LATE_S:
        return ""
    return f"figures {duration(status.age_s)} old"


def too_small(has: tuple[int, int], least: tuple[int, int]) -> str:
    """Return the text for a terminal that is too small."""
    return (
        f"This terminal has {has[0]} columns and {has[1]} lines.\n"
        f"The live view needs {least[0]} and {least[1]}: enlarge it.\n"
        "q quits."
    )


def every(board: Board) -> str:
    """Return how often the board samples, and why not as often as requested."""
    now = board.status
    if not now.interval_s:
        return "no samples: stopped"
    text = f"a sample every {duration(now.interval_s)}"
    return f"{text}, {asked} is over budget" if (asked := over_budget(now)) else text


def trouble(feed: Feed) -> str:
    """Return what is wrong with the link, and since when; empty if nothing is."""
    if feed.board is None:
        return f"NOT CONNECTED, trying again: {feed.problem}" if feed.problem else ""
    if feed.board.connected:
        return ""
    state, _, rest = link_state(feed.board).partition(";")
    return f"{state.upper()};{rest}; figures are of then"


def link_text(feed: Feed) -> str:
    """Return the link's latency and losses, in a few words."""
    if feed.board is None:
        return NOTHING
    link = feed.board.link
    lost = link.bad_frames + link.gaps
    parts = (duration(feed.latency_s), f"{lost} lost", f"{integer(link.dropped_frames)} dropped")
    return ", ".join(parts)


def overview(feeds: Sequence[Feed], shown: Feed, width: int) -> list[str]:
    """Return a line for each board under a head, the one that is shown marked."""
    names = short_names([feed.name for feed in feeds], board_name)
    rows = [
        ("▶" if feed is shown else "", name, *_overview(feed))
        for feed, name in zip(feeds, names, strict=True)
    ]
    return columns(_OVERVIEW, rows, width)


def about(feed: Feed) -> Iterator[Row]:
    """Yield all that is known of a board and its link, and why the rest is not known."""
    board = feed.board
    if board is None:
        yield "link", feed.problem or "connecting"
        return
    identity = board.status.board
    yield "version", f"agent {identity.agent or NOTHING}, protocol {identity.protocol or NOTHING}"
    yield from status_rows(board.status, board.capabilities)
    yield from _link_rows(feed, board)
    yield "boot", f"{integer(identity.boot_id)}, reset: {identity.reset_cause or NOTHING}"
    for label, text in trend_rows(board.trends(_TREND_S)):
        yield ("trends", text) if label == "period" else ("", f"{label}: {text}")
    if board.limits.max_operations is not None:
        yield "limits", ", ".join(f"{label} {text}" for label, text in limit_rows(board.limits))
    for label, rows in (
        ("session", session_rows(board.sessions)),
        ("memory of", memory_profile_rows(board.memory_profiles)),
    ):
        for cells in rows:
            yield label, "  ".join(cells)
    for name, capability in board.capabilities.items():
        if not capability.available:
            yield "unknown", f"{name}: {capability.reason or NOTHING}"


def _link_rows(feed: Feed, board: Board) -> Iterator[Row]:
    link = board.link
    yield "link", link_state(board)
    yield "", f"a request and its reply take {duration(feed.latency_s)}"
    received = f"{count(link.frames, 'frame')} understood, {link.bad_frames} damaged"
    received += f", {link.malformed_frames} malformed" if link.malformed_frames else ""
    yield "", f"{received}, {link.skipped_frames} unknown; something was missed {link.gaps} times"
    dropped = f"{integer(link.dropped_frames)} dropped by the board, because the link did not drain"
    yield "", f"{dropped}; opened again {link.reconnects} times"


def _overview(feed: Feed) -> tuple[str, ...]:
    board = feed.board
    if board is None:
        return ("none" if feed.problem else "\N{HORIZONTAL ELLIPSIS}", *[NOTHING] * 6)
    memory, cpu = board.status.memory, board.status.cpu
    levels = [each.level for each in board.thresholds]
    return (
        _link_state(board),
        percent(cpu.usage),
        size(memory.used_bytes),
        size(memory.live_bytes),
        duration(cpu.loop_lag_worst_s),
        str(len(board.operations)),
        level_text(max(levels, default=Level.CLEAR)),
    )


def _link_state(board: Board) -> str:
    if board.connected:
        return old_figures(board) or "ok"
    age_s = board.status.age_s
    state = "ASLEEP" if board.asleep else "SILENT" if board.link.open else "LOST"
    return state if age_s is None else f"{state} {duration(age_s)} ago"


def level_text(level: Level | int) -> str:
    """Return a threshold's level, in capitals unless it is clear."""
    text = enum_name(level)
    return text if level == Level.CLEAR else text.upper()
