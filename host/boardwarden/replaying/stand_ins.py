"""What surrounds the board's deciding code in a replay: sensors that tell what was recorded.

The names are those of the agent's own parts, which they stand in for (device/warden). Clock,
history, sampler and policy are the board's own. Figures are in the board's units: integers.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

from warden_schema import ids

from .board_code import load

_PLACES = {name: place for place, name in enumerate(ids.SAMPLE_VALUES)}
_OWN = ("overhead", "link_bytes_per_s", "dropped_frames", "bad_frames")  # the agent's own figures
_UNKNOWN = -0x40000000  # in the board's sample: see warden_schema.plain
_MOST = 0x3FFFFFFF
_DAY_MS = 86_400_000
# As the board's step has them: see warden_schema.plain.
_HEAP_WORDS = 19
_COLLECTIONS, _LIVE = 5, 9
_RESTING_WORDS, _MASK = 10, 5
_PERIOD_MS = 29
_SAMPLED = {"overhead": "overhead_permille"}
_THOUSANDTHS = ("cpu", "loop_lag_s", "loop_lag_worst_s", "overhead")


class Figures(NamedTuple):
    """A sample as the board had it: permille, milliseconds and bytes; None: it cannot tell."""

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


NOTHING = Figures()
COLUMNS = Figures._fields


def _word(figure: int | None) -> int:
    """Return a figure as the board's sample has it."""
    return _UNKNOWN if figure is None or abs(figure) > _MOST else figure


def in_board_units(recorded: tuple[Any, ...]) -> Figures:
    """Return figures of COLUMNS, recorded in the host's units, as the board had them."""
    return Figures(
        *(
            value if value is None or name not in _THOUSANDTHS else round(value * 1000)
            for name, value in zip(COLUMNS, recorded, strict=True)
        )
    )


class Time:
    """Ticks in milliseconds that are set by hand; they wrap nowhere, but who reads them seldom
    takes them as those of a board, which wrap.
    """

    def __init__(self) -> None:
        self.now_ms = 0

    def ticks_ms(self) -> int:
        return self.now_ms

    def ticks_us(self) -> int:
        return self.now_ms * 1000

    def ticks_diff(self, end: int, start: int) -> int:
        return end - start


class Memory:
    """The heap as it was recorded. A collection leaves what was live."""

    heap = None  # no C module: the agent has it walked

    def __init__(self, total: int, values: array[int]) -> None:
        self.values = values
        self.state = array("i", [0] * _HEAP_WORDS)
        self.total = total
        self.free = total
        self.live: int | None = None
        self.largest: int | None = None
        self.collections = 0
        self._collected = False  # since the last sample

    def show(self, figures: Figures) -> None:
        self.total = figures.total_bytes or self.total
        self.free = self.total if figures.available_bytes is None else figures.available_bytes
        self.live = figures.live_bytes
        self.largest = figures.largest_free_block_bytes
        self._collected = False

    def walk(self) -> None:
        """Find what is live, as after a collection; the rest need not have been recorded."""
        state = self.state
        state[0], state[1], state[2] = self.total, self.total - (self.live or 0), 0
        state[_COLLECTIONS], state[_LIVE] = 1, _word(self.live)

    def show_again(self) -> None:
        """Put what was recorded where the agent's step put what it made of that."""
        heap = (self.total, self.free, self.live, self.largest)
        for place, figure in enumerate(heap, _PLACES["total_bytes"]):
            self.values[place] = _word(figure)

    def collect_wanted(self, wanted: int) -> None:
        """Collect nothing: what is live was recorded."""

    def used_now(self) -> int:
        return self.total - self.free_now()

    def free_now(self) -> int:
        return self.total - self.live if self._collected and self.live is not None else self.free

    def largest_now(self) -> int | None:
        return self.largest

    def collected(self) -> int:
        return self.collections

    def collect(self, pause: int = 0) -> bool:
        self.collections += 1
        self._collected = True
        return self.live is not None

    def collect_in_ms(self, pause: int = 0) -> int:
        return 0


class Load:
    """asyncio's figures; nothing runs here."""

    core = None
    modules = ()

    def __init__(self) -> None:
        self.cpu_permille: int | None = None

    def show(self, figures: Figures) -> None:
        self.cpu_permille = figures.cpu

    def in_loop(self) -> bool:
        return False

    def current_task(self) -> None:
        return None


class Network:
    """The WLAN."""

    connected = wlan = None  # nothing that would be another reason why it cannot tell

    def __init__(self) -> None:
        self.words = array("i", [_UNKNOWN] * 4)

    def show(self, figures: Figures) -> None:
        self.words[0] = _word(figures.connected)
        self.words[1] = _word(figures.rssi_dbm)

    def read(self) -> None:
        pass


class Storage:
    """Mounts: (mount, block bytes, blocks, free blocks, available blocks) each."""

    due_s = 0  # what is there is looked at with each sample

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def due(self) -> bool:
        return False


class Threads:
    """A count."""

    def __init__(self) -> None:
        self.words = array("i", [_UNKNOWN])


class Capabilities:
    """They change nothing here."""

    def update(self) -> bool:
        return False


class Board:
    """The board's hardware: its file systems, and a reset that only counts."""

    def __init__(self, time: Time, storage: Storage) -> None:
        self.resets = 0
        self.ticks_ms = time.ticks_ms
        self.ticks_us = time.ticks_us
        self.ticks_diff = time.ticks_diff
        self._storage = storage

    def can_reset(self) -> bool:
        return True

    def reset(self) -> None:
        self.resets += 1

    def leave_note(self, text: str) -> None:
        pass

    def take_note(self) -> None:
        return None

    def statvfs(self, mount: str) -> tuple[int, ...] | None:
        for name, block, blocks, free, available in self._storage.rows:
            if name == mount:
                return (block, block, blocks, free, available)
        return None


class Agent:
    """The agent's parts, joined as device/warden/agent.py joins them; `policy` is the board's own.

    limits: in the order of ids.LIMITS_SET; start_ms: the uptime that it begins at, with what was
    measured then.
    """

    session = uplink = link = None  # nobody is told anything

    def __init__(self, limits: tuple[int, ...], start_ms: int, first: Figures) -> None:
        self.time = Time()
        self.ticks_us, self.ticks_diff = self.time.ticks_us, self.time.ticks_diff
        self.clock = load("clock").Clock(self.time.ticks_ms, self.time.ticks_diff)
        self.sampler = load("sampler").Sampler()
        self.values = self.sampler.values
        self.resting = array("i", [0] * _RESTING_WORDS)  # what the agent's step works on
        self.resting[_MASK] = _MOST
        self.memory = Memory(first.total_bytes or 0, self.values)
        self.load, self.network = Load(), Network()
        self.storage, self.threads = Storage(), Threads()
        self.thread_words, self.network_words = self.threads.words, self.network.words
        self.locks = load("threads").Locks(False)
        self.capabilities = Capabilities()
        load("limits").want(self.values, 0, 1000)
        self.history = load("history").History(self.values)
        self.board = Board(self.time, self.storage)
        self.policy = None  # it looks at a sample when that is whole: see `sample`
        self.sampler.join(self)
        self.figures = NOTHING
        self._pass(start_ms)
        self._show(first)
        self.decisions = load("policy").Policy(self, self.board, limits)

    def _show(self, figures: Figures) -> None:
        """Have the sensors tell these."""
        for part in (self.memory, self.load, self.network):
            part.show(figures)
        self.threads.words[0] = _word(figures.threads)
        self.memory.show_again()
        loop = (figures.cpu, figures.loop_lag_s, figures.loop_lag_worst_s, figures.tasks)
        for place, figure in enumerate(loop, _PLACES["cpu_permille"]):
            self.values[place] = _word(figure)

    def advance(self, uptime_ms: int) -> None:
        """Bring the clock to an uptime, if that is later, and end what is over its time."""
        self._pass(uptime_ms)
        self.decisions.tick()

    def _pass(self, uptime_ms: int) -> None:
        """Bring the clock there, in steps as a board's ticks allow."""
        time = self.time
        while time.now_ms < uptime_ms:
            time.now_ms = min(uptime_ms, time.now_ms + _DAY_MS)
            self.clock.advance()
        self.clock.advance()

    def sample(self, uptime_ms: int, figures: Figures) -> None:
        """Have the board's code look at a sample, and do what follows."""
        self.advance(uptime_ms)
        self._show(figures)
        self.values[_PLACES["faults"]] = _word(figures.faults)
        self.figures = figures
        mounts = self.storage.rows
        if figures is NOTHING:  # nor what is told of mounts
            self.storage.rows = []
        self.sampler.take()
        self._decide(self.values[_PERIOD_MS])
        self.storage.rows = mounts
        self.decisions.deliver()

    def _decide(self, passed_ms: int) -> None:
        """Put the agent's own figures into the sample, which nothing measures here, and decide."""
        self.memory.show_again()
        for name in _OWN:
            self.values[_PLACES[_SAMPLED.get(name, name)]] = _word(getattr(self.figures, name))
        self.decisions.look(passed_ms)
