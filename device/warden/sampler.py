"""A sample: all figures at one moment, in the order of `ids.SAMPLE_VALUES`."""

from array import array

from micropython import const

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
# 31 to 35: what keeps it to its budget; 36, 37: bytes sent and used
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


def shift_for(total):
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
        self.values[_SHIFT] = shift_for(agent.memory.total)

    def take(self):
        """Take a sample; allocates nothing."""
        agent = self._agent
        _sample(agent, self.values, agent.memory, agent.policy)

    def read_seldom(self):
        """Read what is not read with every sample, where it is time; return the µs of a scan."""
        self.read_network()
        scanned = self.read_storage()
        self.values[_SELDOM_S] = min(self._network_s, self._agent.storage.due_s)
        return scanned

    def read_network(self):
        """Read the network where it is time."""
        s = self.values[_UPTIME_S]
        if s < self._network_s:
            return
        self._network_s = s + _NETWORK_PERIOD_S
        network = self._agent.network
        connected = network.words[0]
        network.read()
        if connected != network.words[0] or (connected == _UNKNOWN and network.wlan is not None):
            self.values[_NOT_KNOWN] = _ANEW  # why there is no RSSI may be another reason now

    def read_storage(self):
        """Scan the storage where it is time; return the µs that it took."""
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
                values[_STORED] = used >> shift_for(total)
                many = total > _MANY_BLOCKS
                values[_STORAGE_USED] = used // (total // 1000) if many else used * 1000 // total
        return took

    def see_capabilities(self, unknown):
        """Have a host told if the board can tell something else now."""
        self.values[_NOT_KNOWN] = unknown
        agent = self._agent
        if agent.capabilities.update():
            agent.capabilities_changed()

    def history_limit(self, metric):
        """Return what a metric of the history, memory or storage, can reach; in its scale."""
        if metric == 0:
            return self._agent.memory.total >> self.values[_SHIFT]
        blocks = self._agent.storage.rows[0][2]
        return blocks >> shift_for(blocks)
