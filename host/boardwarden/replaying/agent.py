"""Runs the board's agent over a recording: its hardware and sensors return what was recorded.

Everything else is the agent itself (device/warden): clock, history, storage, policy. Figures are in
the board's units: integers.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from boardwarden.transport.sim import board_files
from warden_schema.ids import SAMPLE_VALUES

_DAY_MS = 86_400_000
_NEVER_S = 0x3FFFFFFF  # of a deadline that there is not
_INTERVAL_MS = 600_000  # nobody waits for a sample: see Agent.sample
_BUDGET_PERMILLE = 1000
_MAX_FIGURE = 0x3FFFFFFF  # of 31 bits
_UNKNOWN = -_MAX_FIGURE - 1  # as the agent's sample has what is not known
_THOUSANDTHS = ("cpu", "loop_lag_s", "loop_lag_worst_s", "overhead")
# What the agent's sample calls a figure where that is not its name in a recording.
_SAMPLE_NAMES = {
    "cpu": "cpu_permille",
    "loop_lag_s": "loop_lag_ms",
    "loop_lag_worst_s": "loop_lag_worst_ms",
    "overhead": "overhead_permille",
}
_OF_SYSTEM_HEAP = 3  # the last columns
_OF_MEMORY = ("total_bytes", "available_bytes", "live_bytes", "largest_free_block_bytes")


def load(module: str) -> Any:
    """Return a module of the board's package `warden`, by its name there."""
    name = f"warden.{module}"
    if name in sys.modules:
        return sys.modules[name]
    folder = str(board_files()[0])
    stand_in = "micropython" not in sys.modules
    if stand_in:
        sys.modules["micropython"] = _micropython()
    importlib.import_module("warden_schema")  # the host's, not a second one beside the board's code
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
        if stand_in:
            del sys.modules["micropython"]


def _micropython() -> ModuleType:
    made = ModuleType("micropython")
    made.const = lambda value: value  # type: ignore[attr-defined]
    return made


@contextmanager
def modules_restored(*names: str) -> Iterator[None]:
    """Restore these modules after the block, whatever stood in for them.

    Those that are not imported cannot be.
    """
    before = {name: sys.modules.get(name) for name in names}
    for name, module in before.items():
        if module is None:
            sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


class Figures(NamedTuple):
    """A sample as the board had it: permille, milliseconds and bytes; None: unknown."""

    total_bytes: int | None = None
    available_bytes: int | None = None
    live_bytes: int | None = None
    largest_free_block_bytes: int | None = None
    cpu: int | None = None
    loop_lag_s: int | None = None
    loop_lag_worst_s: int | None = None
    tasks: int | None = None
    threads: int | None = None
    connected: int | None = None
    rssi_dbm: int | None = None
    overhead: int | None = None
    link_bytes_per_s: int | None = None
    dropped_frames: int | None = None
    bad_frames: int | None = None
    faults: int | None = None
    system_heap_free_bytes: int | None = None
    system_heap_largest_free_block_bytes: int | None = None
    system_heap_low_water_bytes: int | None = None


NOTHING = Figures()
COLUMNS = Figures._fields


def in_board_units(recorded: tuple[Any, ...]) -> Figures:
    """Return figures of COLUMNS, recorded in the host's units, as the board had them."""
    return Figures(
        *(
            value if value is None or name not in _THOUSANDTHS else round(value * 1000)
            for name, value in zip(COLUMNS, recorded, strict=True)
        )
    )


class Board:
    """The board's hardware: ticks that are set by hand, memory and mounts as they were recorded.

    mount_rows: (mount, block bytes, blocks, free blocks, available blocks) of each. A collection
    leaves what was live. A reset only counts.
    """

    heap_grows = False

    def __init__(self, total_bytes: int) -> None:
        self.now_ms = 0
        self.resets = 0
        self.mount_rows: list[tuple[Any, ...]] = []
        self.total_bytes = self.free_bytes = total_bytes
        self.live_bytes: int | None = None

    # --- time: these ticks do not wrap ----------------------------------------------------------

    def ticks_ms(self) -> int:
        return self.now_ms

    def ticks_us(self) -> int:
        return self.now_ms * 1000

    def ticks_diff(self, end: int, start: int) -> int:
        return end - start

    # --- memory ---------------------------------------------------------------------------------

    def gc_threshold(self) -> int:
        return -1

    def find_heap(self) -> int:
        return 0

    def mem_free(self) -> int:
        return self.free_bytes

    def mem_alloc(self) -> int:
        return self.total_bytes - self.free_bytes

    def collect(self) -> bool:
        """Collect garbage: leave what was live; return False if that was not recorded."""
        if self.live_bytes is None:
            return False
        self.free_bytes = self.total_bytes - self.live_bytes
        return True

    # --- storage --------------------------------------------------------------------------------

    def mounts(self) -> list[str]:
        return [row[0] for row in self.mount_rows]

    def statvfs(self, mount: str) -> tuple[int, ...] | None:
        for name, block, blocks, free, available in self.mount_rows:
            if name == mount:
                return (block, block, blocks, free, min(free, available))
        return None

    # --- the rest -------------------------------------------------------------------------------

    has_timer = False
    path = ""
    identity = ("", "", "", b"", None, "")
    boot_id = 0

    def reset(self) -> None:
        self.resets += 1

    def save_note(self, text: str) -> None:
        pass

    def load_note(self) -> None:
        return None


class SystemHeap:
    """Stands in for an ESP32's: `values` are what was recorded with the sample."""

    values: tuple[int | None, ...] = (None,) * _OF_SYSTEM_HEAP

    def read(self) -> None:
        """Do nothing: it was read when it was recorded."""


class Sensors:
    """Stands in for all sensors but storage's and memory's, which have the Board to read."""

    def __init__(self, agent: Any) -> None:
        self.figures = NOTHING
        self.system_heap = agent.system_heap = SystemHeap()
        self._agent = agent

    def read(self, sample: Any) -> bool:
        """Put what was recorded into the sample, and where the policy looks for memory."""
        figures = self.figures
        board, memory = self._agent.board, self._agent.memory
        board.total_bytes = total = figures.total_bytes or board.total_bytes
        free = figures.available_bytes
        board.free_bytes = total if free is None else free
        board.live_bytes = figures.live_bytes if total else None
        memory.total, memory.free = total, board.free_bytes
        memory.live = board.live_bytes
        # Where it is not known, collections were off: what is used counts.
        memory.is_off = board.live_bytes is None and bool(total) and free is not None
        memory.largest = memory.left = figures.largest_free_block_bytes
        self.system_heap.values = figures[-_OF_SYSTEM_HEAP:]
        for name, figure in zip(COLUMNS[:-_OF_SYSTEM_HEAP], figures, strict=False):
            if name not in _OF_MEMORY:
                known = figure is not None and abs(figure) <= _MAX_FIGURE
                put_figure(sample, _SAMPLE_NAMES.get(name, name), figure if known else None)
        return False


def put_figure(sample: Any, name: str, value: int | None) -> None:
    """Set a figure of the agent's sample, named as in SAMPLE_VALUES; None: it is not known."""
    sample.figures[_place(name)] = _UNKNOWN if value is None else int(value)


def _place(name: str) -> int:
    """Return where the agent's sample has the figure of a name in SAMPLE_VALUES."""
    order: bytes = load("sample")._ORDER
    return order[SAMPLE_VALUES.index(name)]


class Agent:
    """The board's agent, without a link, whose samples come from a recording.

    limits: in the order of ids.LIMITS_SET; start_ms: the uptime that it begins at. `first` has the
    size of its memory; nothing is known of that until a sample is taken.
    """

    def __init__(self, limits: tuple[int, ...], start_ms: int, first: Figures) -> None:
        # Which the agent imports when it must.
        for room in ("policy_setup", "policy.forecast"):
            load(room)
        make = load("setup").make_agent
        self.board = Board(first.total_bytes or 0)
        with modules_restored("_thread", "network"):  # it would stand in for them, to count
            self._agent = make(self.board, _INTERVAL_MS, _BUDGET_PERMILLE, None, limits)
        self.clock = self._agent.clock
        self.policy = self._agent.policy
        self._sensors = Sensors(self._agent)
        self._agent.network.read = lambda sample: False
        self._agent.load.read = self._sensors.read
        self._pass(start_ms)

    def advance(self, uptime_ms: int) -> None:
        """Bring the clock to an uptime, if that is later, and end what is over its time by then."""
        left_ms = self.policy.run_due()
        while self.board.now_ms + left_ms < uptime_ms and self._has_deadline():
            self._pass(self.board.now_ms + max(1, left_ms))
            left_ms = self.policy.run_due()
        self._pass(uptime_ms)
        self.policy.run_due()

    def _has_deadline(self) -> bool:
        policy = self.policy
        tables = (policy.leases, policy.operations, policy.sessions)
        return any(second != _NEVER_S for table in tables for second in table.end_s)

    def _pass(self, uptime_ms: int) -> None:
        """Bring the clock there, in steps as a board's ticks allow."""
        board = self.board
        while board.now_ms < uptime_ms:
            board.now_ms = min(uptime_ms, board.now_ms + _DAY_MS)
            self.clock.advance()

    @property
    def cpu_permille(self) -> int | None:
        """What of the core is in use, as the last sample has it; may be set."""
        sample = self._agent.sample
        permille: int | None = sample.get(_place("cpu_permille"))
        return permille

    @cpu_permille.setter
    def cpu_permille(self, permille: int | None) -> None:
        put_figure(self._agent.sample, "cpu_permille", permille)

    def sample(self, uptime_ms: int, figures: Figures) -> None:
        """Have the agent take a sample that finds these figures, and do what follows."""
        self.advance(uptime_ms)
        self._sensors.figures = figures
        self._agent.storage.deadline_s = 0  # what is there is looked at with each sample
        self._agent.deadline_s, self._agent.deadline_ms = self.clock.s, self.clock.ms
        self._agent.take_sample(late_ms=0)
        self.deliver()

    def gap(self, uptime_ms: int) -> None:
        """Have the agent take a sample that finds nothing: what happened meanwhile is not known."""
        mounts, self.board.mount_rows = self.board.mount_rows, []
        self.sample(uptime_ms, NOTHING)
        self.board.mount_rows = mounts

    def deliver(self) -> None:
        """Do what a decision brings, and hand out its events."""
        self.policy.gate.enter()
