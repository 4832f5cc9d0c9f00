"""A sample: all figures at one moment, in the order of `ids.SAMPLE_VALUES`."""

from array import array

from micropython import const

from warden_schema import loops

from .governor import Governor

_NETWORK_PERIOD_S = const(10)
_NONE = const(0xFFFF)
_STORAGE_HISTORY = const(3)

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
_DERIVED = const(5)  # behind them: what `figures` makes of these for thresholds
_UNKNOWN = const(-0x40000000)

# In the governor's state.
_BUDGET = const(0)
_WANTED = const(1)
_INTERVAL = const(2)

# In the history: where its first three are in the sample.
_FILED = b"\x05\x07\x08"

_PARTS = ("load", "memory", "network", "storage", "figures", "history", "policy", "capabilities")


def _shift_for(total):
    """Return by how much to shift a figure of up to `total`, so that 16 bits hold it."""
    shift = 0
    while total >> shift >= _NONE:
        shift += 1
    return shift


class Sampler:
    """`take()` reads all sensors of an agent into `values`, array("i"): see `plain` for figures."""

    def __init__(self, agent, budget_permille):
        self.values = array("i", [_UNKNOWN] * (_VALUES + _DERIVED))
        self.governor = Governor(budget_permille)
        self._agent = agent
        self._ticks_us = agent.ticks_us
        self._ticks_diff = agent.ticks_diff
        self._period_ms = 0  # since the sample before
        self._last_s = 0
        self._last_ms = 0
        self._last_sent = 0
        self._busy_us = 0  # the agent's own time in that period
        self._network_s = 0
        self._known = 0  # a bit for each value that was known
        self._renewed = True  # whether what is read seldom was read: capabilities may differ
        self._scanned = None  # the storage's rows that the history has
        self._scanned_us = 0  # in the storage's scan, which has a budget of its own
        self._scale_memory = _shift_for(agent.memory.total)
        self._shifts = bytes((self._scale_memory, 0, 0))
        self._parts = (  # in the order of _PARTS; a bound method is an object: made once
            self._read_load,
            agent.memory.read,
            self._read_network,
            self._read_storage,
            self._fill,
            self._file,
            self._decide,
            self._see_capabilities,
        )

    def take(self):
        """Take a sample, and see whether its cost keeps to the budget; allocates nothing."""
        memory = self._agent.memory
        began = self._ticks_us()
        collected = memory.spent_us
        self._begin()
        for part in self._parts:
            part()
        cost = self._ticks_diff(self._ticks_us(), began)
        cost -= memory.spent_us - collected + self._scanned_us  # which have budgets of their own
        self.governor.sampled(cost, self._busy_us, self._period_ms)

    def cost(self):
        """Take a sample; return a dict of what each part of it took, in µs."""
        self._begin()
        found = {}
        for name, part in zip(_PARTS, self._parts):
            began = self._ticks_us()
            part()
            found[name] = self._ticks_diff(self._ticks_us(), began)
        return found

    def stopped(self):
        """Have the figures say that no more samples are taken."""
        self.values[_INTERVAL_MS] = 0

    def _begin(self):
        clock = self._agent.clock
        self._period_ms = clock.since(self._last_s, self._last_ms)
        self._last_s = clock.s
        self._last_ms = clock.ms

    def _read_load(self):
        self._agent.load.read(self._period_ms)

    def _read_network(self):
        s = self._agent.clock.s
        if s >= self._network_s:
            self._network_s = s + _NETWORK_PERIOD_S
            self._renewed = True
            self._agent.network.read()

    def _read_storage(self):
        agent = self._agent
        self._scanned_us = 0
        if agent.storage.due():
            began = self._ticks_us()
            changed = agent.storage.read()
            agent.storage_changed(changed)
            self._scanned_us = self._ticks_diff(self._ticks_us(), began)

    def _decide(self):
        if self._agent.policy is not None:
            self._agent.policy.look(self._period_ms)

    def _see_capabilities(self):
        known = loops.known(self.values, _VALUES)
        if known != self._known or self._renewed:  # seldom
            self._known = known
            self._renewed = False
            agent = self._agent
            if agent.capabilities.update():
                agent.capabilities_changed()

    def value(self, place):
        """Return a figure of the newest sample, None for what cannot be told."""
        value = self.values[place]
        return None if value == _UNKNOWN else value

    def _fill(self):
        """Put the sensors' figures into the sample, in the order of ids.SAMPLE_VALUES."""
        agent = self._agent
        values = self.values
        put = loops.put
        clock = agent.clock
        memory = agent.memory
        load = agent.load
        threads = agent.threads
        network = agent.network
        rates = self.governor.state
        put(values, _UPTIME_S, clock.s, clock.ms, rates[_INTERVAL], memory.total)
        put(values, _FREE_BYTES, memory.free, memory.live, memory.largest, load.cpu_permille)
        active = None if threads.early else threads.active
        put(values, _LOOP_LAG_MS, load.lag_ms, load.worst_ms, load.tasks, active)
        put(values, _CONNECTED, network.connected, network.rssi_dbm, network.sent, network.received)
        period_ms = self._period_ms
        if period_ms > 0:
            self._busy_us = busy_us = agent.busy_us
            values[_OVERHEAD_PERMILLE] = (busy_us + (period_ms >> 1)) // period_ms
            agent.busy_us = 0
        session = agent.session
        bad = None
        if session is not None:
            sent = agent.uplink.sent
            if 0 < period_ms < 60_000:  # in which 2**16 bytes cannot have gone unseen, at 1 kB/s
                values[_LINK_BYTES_PER_S] = (sent - self._last_sent & 0xFFFF) * 1000 // period_ms
            self._last_sent = sent
            values[_DROPPED_FRAMES] = agent.sample.dropped
            values[_SKIPPED_FRAMES] = session.skipped
            bad = session.bad
        put(values, _BAD_FRAMES, bad, agent.faults, rates[_WANTED], rates[_BUDGET])

    def _file(self):
        """File the sample's figures in the history."""
        agent = self._agent
        history = agent.history
        loops.shrink(self.values, _FILED, self._shifts, history.row, len(_FILED))
        rows = agent.storage.rows
        if rows is not self._scanned:
            self._scanned = rows
            self._renewed = True
            used = rows[0][2] - rows[0][3] >> _shift_for(rows[0][2]) if rows else _NONE
            history.row[_STORAGE_HISTORY] = used
        history.add(agent.clock.s)

    # --- what the history's figures are -----------------------------------------------------------

    def scale(self, metric):
        """Return what a figure in the history is to be multiplied with, by metric."""
        if metric == 0:
            return 1 << self._scale_memory
        if metric == 3 and self._agent.storage.rows:
            row = self._agent.storage.rows[0]
            return row[1] << _shift_for(row[2])
        return 1

    def history_limit(self, metric):
        """Return what a metric of the history, memory or storage, can reach; in its scale."""
        if metric == 0:
            return self._agent.memory.total >> self._scale_memory
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
