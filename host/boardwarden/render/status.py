"""A board's status, trends and link in a few aligned lines."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping

from boardwarden._clock import unread_s
from boardwarden.board import Board
from boardwarden.models import (
    Capability,
    Network,
    Status,
    Storage,
    StoredPolicy,
    SystemHeap,
    Trend,
    Trends,
)
from boardwarden.transport.address import (
    is_mqtt,
    is_network,
    is_serial,
    is_simulated,
    without_folders,
)

from .text import NOTHING, count, duration, percent, printable, size

WIDTH = 80
_STORED: dict[int, str] = {
    StoredPolicy.NOTHING: "none is stored: after a restart the application's holds",
    StoredPolicy.IN_FORCE: "a stored one is in force, and overrides the application's",
    StoredPolicy.BROKEN: "the stored one is damaged, and was ignored: apply one again",
    StoredPolicy.SET_ASIDE: "the board set the stored one aside: it refused or ended all, or boots "
    "ended early",
}
Row = tuple[str, str]
Reasons = Mapping[str, Capability]


def board_name(address: str) -> str:
    """Return what a board is called: its id at a broker, or its address, without long paths."""
    name = address.rpartition("/")[2] if is_mqtt(address) else without_folders(address)
    return printable(name)


def aligned(rows: Iterable[Row], width: int = WIDTH) -> str:
    """Return the rows as lines of at most `width` columns, the labels in a column of their own.

    Of what a board says nothing is left that a terminal acts on.
    """
    rows = [(printable(label), printable(text)) for label, text in rows]
    indent = max((len(label) for label, _ in rows), default=0) + 2
    return "\n".join(
        textwrap.fill(
            text,
            width,
            initial_indent=label.ljust(indent),
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
        for label, text in rows
    )


def status_rows(status: Status, why: Reasons) -> Iterator[Row]:
    """Yield the rows of a status; `why` has the reasons for what cannot be had."""
    board, up = status.board, duration(status.cpu.uptime_s)
    yield "board", f"{board.machine or NOTHING}, MicroPython {board.firmware or NOTHING}, up {up}"
    yield from _memory_rows(status, why)
    yield from _crash_rows(status)
    yield "cpu", _cpu(status, why)
    yield from _storage_rows(status.storage, why)
    yield "network", _network(status.network, why)
    yield "agent", _agent(status)


def policy_rows(stored: StoredPolicy | int | None) -> Iterator[Row]:
    """Yield the row of the stored policy; none where its state is not known."""
    if stored is not None:
        yield "policy", stored_policy_text(stored)


def safe_rows(is_safe: bool | None) -> Iterator[Row]:
    """Yield the row of a board in safe mode; none for another, or where that is not known."""
    if is_safe:
        yield "safe mode", "the application does not run: it ended badly three times in a row"


def stored_policy_text(stored: StoredPolicy | int) -> str:
    """Return the state of a board's stored policy, in a clause."""
    return _STORED.get(stored, f"state {stored}, which this version does not know")


def sample_line(status: Status) -> str:
    """Return the figures that move, in one line of 80 columns."""
    memory, cpu, overhead = status.memory, status.cpu, status.overhead
    return (
        f"up {duration(cpu.uptime_s):<12}"
        f"cpu {percent(cpu.usage):<7}"
        f"used {size(memory.used_bytes):<8}"
        f"live {size(memory.live_bytes):<8}"
        f"frag {percent(memory.fragmentation):<7}"
        f"agent {percent(overhead.cpu)}"
    )


def _memory_rows(status: Status, why: Reasons) -> Iterator[Row]:
    memory = status.memory
    used = f"{size(memory.used_bytes)} of {size(memory.total_bytes)} used ({percent(memory.usage)})"
    live = f"{size(memory.live_bytes)} live" + because(memory.live_bytes, "live_memory", why)
    yield "memory", f"{used}, {live}"
    largest = memory.largest_free_block_bytes
    block = f"largest free block {size(largest)}"
    if largest is None:
        yield "", block + because(largest, "largest_free_block", why)
    else:
        yield "", f"{block}, fragmentation {percent(memory.fragmentation)}"
    if memory.low_water_bytes is not None:
        yield "", f"live bytes left at least {size(memory.low_water_bytes)} in each sample"
    if status.system_heap is not None:
        yield "system heap", system_heap_text(status.system_heap)


def system_heap_text(heap: SystemHeap) -> str:
    """Return the figures of an ESP32's own heap."""
    free, largest = size(heap.free_bytes), size(heap.largest_free_block_bytes)
    return f"{free} free, at least {size(heap.low_water_bytes)}, largest block {largest}"


def _crash_rows(status: Status) -> Iterator[Row]:
    boots, free_s = status.board.boots, status.board.crash_free_s
    if boots is not None:
        yield "boots", f"{boots}, for {duration(free_s)} of uptime no unexpected reset"


def _cpu(status: Status, why: Reasons) -> str:
    cpu = status.cpu
    return ", ".join(
        (
            percent(cpu.usage) + because(cpu.usage, "cpu", why),
            f"loop lag {duration(cpu.loop_lag_s)}",
            count(cpu.active_tasks, "task"),
            count(cpu.active_threads, "thread"),
        )
    )


def _storage_rows(storage: tuple[Storage, ...], why: Reasons) -> Iterator[Row]:
    if not storage:
        yield "storage", NOTHING + because(None, "storage", why)
    label = "storage"
    for row in storage:
        used = f"{size(row.used_bytes)} of {size(row.total_bytes)} used"
        yield label, f"{row.mount} {used} ({percent(row.usage)})"
        label = ""
        if row.agent_writes is not None:
            writes = sum(row.agent_writes.to_dict().values())
            yield label, f"the agent wrote {count(writes, 'time')} to it"


def _network(network: Network, why: Reasons) -> str:
    if network.connected is None:
        wlan = NOTHING + because(None, "wlan", why)
    elif network.connected:
        rssi = network.rssi_dbm
        wlan = "connected" if rssi is None else f"connected, {rssi} dBm"
    else:
        wlan = "not connected"
    if network.sent_bytes is None and network.received_bytes is None:
        return wlan
    return f"{wlan}, {size(network.sent_bytes)} sent, {size(network.received_bytes)} received"


def _agent(status: Status) -> str:
    overhead, actual = status.overhead, status.interval_s
    every = f"a sample every {duration(actual)}" if actual else "sampling stopped"
    if asked := over_budget(status):
        budget = percent(overhead.budget)
        every += f" ({asked} was asked for, and takes more than its budget of {budget})"
    return ", ".join(
        (
            f"{percent(overhead.cpu)} of the core",
            f"{size(overhead.bytes_per_s)}/s",
            f"{count(overhead.dropped_frames, 'frame')} dropped",
            every,
        )
    )


def over_budget(status: Status) -> str:
    """Return the interval that was asked for, where the budget makes it longer; else ""."""
    actual, wanted = status.interval_s, status.wanted_interval_s
    is_over = actual and wanted and actual > wanted and duration(actual) != duration(wanted)
    return duration(wanted) if is_over else ""


def reason(value: object, capability: str, why: Reasons) -> str:
    """Return why there is no value, if there is none and the board gave a reason; else ""."""
    known = why.get(capability)
    return known.reason or "" if value is None and known is not None else ""


def because(value: object, capability: str, why: Reasons) -> str:
    """Return reason() in brackets, to be put behind the value."""
    found = reason(value, capability, why)
    return f" ({found})" if found else ""


def trend_rows(trends: Trends) -> Iterator[Row]:
    """Yield one row for each figure that has a trend."""
    yield "period", f"the last {duration(trends.period_s)}"
    yield "memory", _trend_text(trends.memory, size)
    yield "storage", _trend_text(trends.storage, size)
    yield "cpu", _trend_text(trends.cpu, percent)
    yield "loop lag", _trend_text(trends.loop_lag, duration)
    yield "fragmentation", _trend_text(trends.fragmentation, percent)


def _trend_text(trend: Trend, write: Callable[[float | None], str]) -> str:
    points = count(trend.points, "point")
    if trend.slope_per_s is None or trend.stderr is None:
        return f"{NOTHING} ({points}: too few)"
    if not trend.is_clear:
        return f"no clear trend ({points})"
    way = "rising" if trend.slope_per_s > 0 else "falling"
    rate = f"{way} by {write(abs(trend.slope_per_s) * 60)} a minute"
    sure = f"± {write(trend.stderr * 60)}, {points}"
    if trend.exhausted_in_s is None:
        return f"{rate} ({sure})"
    return f"{rate}, exhausted in {duration(trend.exhausted_in_s)} ({sure})"


def link_state(board: Board) -> str:
    """Return whether the board is there, and if not, when its last sample came, and why perhaps."""
    if board.connected:
        return "connected"
    last_sample = board.status.last_updated
    if last_sample is None:
        return f"link lost; waiting for the board: {loss(board)}"
    at, age = f"{last_sample.astimezone():%H:%M:%S}", duration(board.status.age_s)
    since = f"the last sample came at {at}, {age} ago"
    return f"asleep; {since}" if board.asleep else f"link lost; {since}: {loss(board)}"


def loss(board: Board) -> str:
    """Return what may have happened to a board that is silent and did not say that it sleeps."""
    if stood_s := unread_s():
        return f"this program, or computer, stood still for {duration(stood_s)}"
    if is_mqtt(board.address):
        if board.link.open:
            return "its broker is there, so it hangs, or has no power or network"
        return "the connection to its broker is gone, so look at the broker and the network"
    if board.link.open:
        return "the line is there, so it hangs or has no power"
    if is_network(board.address):
        return "the connection is gone, so look at the board's power and network"
    if is_serial(board.address):
        return "the port is gone, so look at cable and power"
    if is_simulated(board.address):
        return "the simulated board has ended"
    return "the connection is gone"


class LinkChanges:
    """Finds what changed of a board's link, and its restarts, since the last time it was asked.

    connected: whether the link was last shown as there.
    """

    def __init__(self, board: Board, connected: bool = True) -> None:
        self._board = board
        self._connected = connected
        self._restarts = board.restart_count

    def lines(self) -> Iterator[str]:
        """Yield a line for a link that was lost or is back, and for each restart."""
        connected = self._board.connected
        if connected != self._connected:
            self._connected = connected
            yield link_state(self._board)
        yield from self.restarts()

    def restarts(self) -> Iterator[str]:
        """Yield a line for each restart, once its cause is here."""
        new, self._restarts = self._board.restart_count - self._restarts, self._board.restart_count
        for restart in self._board.restarts[-new:] if new else ():
            yield printable(str(restart))
