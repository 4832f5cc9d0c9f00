"""A sample: all figures at one moment, in the order of `ids.SAMPLE_VALUES`."""

from array import array

from micropython import const

from warden_schema.loops import renew as _renew
from warden_schema.loops import sample as _sample

_NETWORK_PERIOD_S = const(10)
_NONE = const(0xFFFF)
_MANY_BLOCKS = const(1_000_000)  # a thousand times more would exceed 30 bits

# Places in the sample, in the order of ids.SAMPLE_VALUES.
_UPTIME_S = const(0)
_UPTIME_MS = const(1)
_INTERVAL_MS = const(2)
_TOTAL_BYTES = const(3)
_FREE_BYTES = const(4)
_LIVE_BYTES = const(5)
_LARGEST_FREE_BLOCK_BYTES = const(6)
_CPU_PERMILLE = const(7)
_LOOP_LAG_MS = const(8)
_LOOP_LAG_WORST_MS = const(9)
_TASKS = const(10)
_THREADS = const(11)
_CONNECTED = const(12)
_RSSI_DBM = const(13)
_SENT_BYTES = const(14)
_RECEIVED_BYTES = const(15)
_OVERHEAD_PERMILLE = const(16)
_LINK_BYTES_PER_S = const(17)
_DROPPED_FRAMES = const(18)
_SKIPPED_FRAMES = const(19)
_BAD_FRAMES = const(20)
_FAULTS = const(21)
_WANTED_INTERVAL_MS = const(22)
_BUDGET_PERMILLE = const(23)
_VALUES = const(24)
_UNKNOWN = const(-0x40000000)

# Behind them: what `figures` makes of these for thresholds (24 to 28), and what is kept from one
# sample to the next. `plain` has the same places.
_STORAGE_USED = const(26)
_PERIOD_MS = const(29)  # since the sample before
# 30: what that one took, in µs; -1: not known
# 31 to 35: the governor's; 36, 37: bytes sent and used
_STORED = const(38)  # the storage's figure in the history
_SHIFT = const(39)  # of the memory's there
_DUE_S = const(40)  # when the next sample is due: the agent's
# 42: ms from the newest one until then; 43: µs in collections, see `memory`
_SELDOM_S = const(44)  # when the network or the storage is read again
_NOT_KNOWN = const(45)  # a bit for each value that was not; _ANEW: look anew
# 46, 47: when the forecasts of memory and storage are renewed: see `figures`
_FORECASTS = const(46)
_WORDS = const(48)
_NEVER_S = const(0x3FFFFFFF)
_ANEW = const(0x3FFFFFFF)

PARTS = ("load", "memory", "network", "storage", "figures", "history", "policy", "capabilities")

# The period is known from what it begins with.
_ORDER = ("figures",) + tuple([part for part in PARTS if part != "figures"])


def _shift_for(total):
    """Return by how much to shift a figure of up to `total`, so that 16 bits hold it."""
    shift = 0
    while total >> shift >= _NONE:
        shift += 1
    return shift


class Sampler:
    """`take()` reads all sensors of an agent into `values`, array("i"): see `plain` for figures.

    Sensors put their figures there themselves.
    """

    def __init__(self):
        values = array("i", [_UNKNOWN] * _WORDS)
        values[_UPTIME_S] = values[_UPTIME_MS] = 0
        for place in range(_PERIOD_MS, _WORDS):
            values[place] = 0
        values[_STORED] = _UNKNOWN
        values[_FORECASTS] = values[_FORECASTS + 1] = _NEVER_S
        self.values = values

    def join(self, agent):
        """Sample this agent from now on: all its parts are there."""
        self._agent = agent
        self._network_s = 0
        self.values[_NOT_KNOWN] = _ANEW
        self._scanned = None  # the storage's rows that the history has
        self._found = 0  # that of this sample
        self.values[_SHIFT] = _shift_for(agent.memory.total)

    def _begin(self):
        _renew(self._agent)

    def _read_load(self):
        if self._agent.load.attach():
            self._agent.load.read()

    def _file(self):
        self._found = self._agent.history.add(self.values[_UPTIME_S])

    def _compare(self):
        if self._found != self.values[_NOT_KNOWN]:
            self.see_capabilities(self._found)

    def _decide(self):
        if self._agent.policy is not None:
            self._agent.policy.look(self.values[_PERIOD_MS])

    def take(self):
        """Take a sample; allocates nothing."""
        agent = self._agent
        _sample(agent, agent.memory, agent.policy)

    def parts(self):
        """Return what a sample consists of, a function for each of PARTS."""
        agent = self._agent
        return {
            "load": self._read_load,
            "memory": agent.memory.read,
            "network": self._read_network,
            "storage": self._read_storage,
            "figures": self._begin,
            "history": self._file,
            "policy": self._decide,
            "capabilities": self._compare,
        }

    def cost(self):
        """Take a sample; return what each of PARTS took of it, in µs."""
        ticks_us = self._agent.ticks_us
        parts = self.parts()
        took = {}
        for name in _ORDER:
            part = parts[name]
            began = ticks_us()
            part()
            took[name] = self._agent.ticks_diff(ticks_us(), began)
        return [took[name] for name in PARTS]

    def costs(self):
        """Return that as a dict."""
        return dict(zip(PARTS, self.cost()))

    def stopped(self):
        """Have the figures say that no more samples are taken."""
        self.values[_INTERVAL_MS] = 0

    def read_seldom(self):
        """Read what is not read with every sample, where it is time; return the µs of a scan."""
        self._read_network()
        scanned = self._read_storage()
        self.values[_SELDOM_S] = min(self._network_s, self._agent.storage.due_s)
        return scanned

    def _read_network(self):
        s = self.values[_UPTIME_S]
        if s < self._network_s:
            return
        self._network_s = s + _NETWORK_PERIOD_S
        network = self._agent.network
        connected = network.connected
        network.read()
        if connected != network.connected or (connected is None and network.wlan is not None):
            self.values[_NOT_KNOWN] = _ANEW  # why there is no RSSI may be another reason now

    def _read_storage(self):
        if self.values[_UPTIME_S] < self._agent.storage.due_s:
            return 0
        return self._scan()

    def _scan(self):
        agent = self._agent
        storage = agent.storage
        took = 0
        if storage.due():
            began = agent.ticks_us()
            changed = storage.read()
            agent.storage_changed(changed)
            took = agent.ticks_diff(agent.ticks_us(), began)
        rows = storage.rows
        if rows is not self._scanned:
            self._scanned = rows
            self.values[_NOT_KNOWN] = _ANEW
            values = self.values
            values[_STORED] = values[_STORAGE_USED] = _UNKNOWN
            if rows:
                total = rows[0][2]
                used = total - rows[0][3]
                values[_STORED] = used >> _shift_for(total)
                many = total > _MANY_BLOCKS
                values[_STORAGE_USED] = used // (total // 1000) if many else used * 1000 // total
        return took

    def see_capabilities(self, unknown):
        """Have a host told if the board can tell something else now."""
        self.values[_NOT_KNOWN] = unknown
        agent = self._agent
        if agent.capabilities.update():
            agent.capabilities_changed()

    def value(self, place):
        """Return a figure of the newest sample, None for what cannot be told."""
        value = self.values[place]
        return None if value == _UNKNOWN else value

    # --- what the history's figures are -----------------------------------------------------------

    def scale(self, metric):
        """Return what a figure in the history is to be multiplied with, by metric."""
        if metric == 0:
            return 1 << self.values[_SHIFT]
        if metric == 3 and self._agent.storage.rows:
            row = self._agent.storage.rows[0]
            return row[1] << _shift_for(row[2])
        return 1

    def history_limit(self, metric):
        """Return what a metric of the history, memory or storage, can reach; in its scale."""
        if metric == 0:
            return self._agent.memory.total >> self.values[_SHIFT]
        blocks = self._agent.storage.rows[0][2]
        return blocks >> _shift_for(blocks)

    def history_read(self, tier, metric, stat):
        """Return [newest_s, step_s, scale, bytes]: a column of the history, see docs/wire.md."""
        for value, limit in ((tier, 3), (metric, 4), (stat, 3)):
            if not isinstance(value, int) or not 0 <= value < limit:
                raise ValueError("no such column")
        history = self._agent.history
        column = history.column(tier, metric, stat)
        data = bytearray(2 * len(column))
        for index, value in enumerate(column):  # little-endian on every board
            data[2 * index] = value & 0xFF
            data[2 * index + 1] = value >> 8
        return [history.newest_s(tier), history.step_s(tier), self.scale(metric), data]
