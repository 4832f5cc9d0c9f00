"""The agent: the one place where the parts are made and joined."""

from micropython import const

from . import network, threads
from .capabilities import Capabilities
from .clock import Clock
from .errors import Preempted
from .history import History
from .host_session import Session
from .load import Load
from .memory import Memory
from .storage import Storage
from .tables import Hello, Sample, StorageTable
from .uplink import Uplink

VERSION = "0.1.0"

_MIN_INTERVAL_MS = const(20)
_MAX_INTERVAL_MS = const(600_000)
_NETWORK_PERIOD_S = const(10)
_SLICE_PAUSE_MS = const(2)  # between two slices of a large heap
_NONE = const(0xFFFF)

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
_VALUES = const(22)

# Requests, from ids.
_PING = const(0)
_START_MONITORING = const(1)
_STOP_MONITORING = const(2)
_HISTORY_READ = const(3)
_ALLOCATE = const(4)
_RELEASE = const(5)
_BEGIN = const(6)
_COMPLETE = const(7)
_CAN_EXECUTE = const(8)
_SET_LIMITS = const(9)
_SET_THRESHOLD = const(10)
_CANCEL = const(11)
_TELL_METERS = const(12)


def _shift_for(total):
    """Return by how much to shift a figure of up to `total`, so that 16 bits hold it."""
    shift = 0
    while total >> shift >= _NONE:
        shift += 1
    return shift


class Agent:
    """Samples, keeps, tells. `step()` does what is due and returns the ms until it is again.

    board: what `hal.detect()` gives; interval_ms: between samples; link: or None; limits: of the
    policy, in the order of ids.LIMITS_SET.
    """

    def __init__(self, board, interval_ms, link, limits=(4, 300_000, 100, 5000)):
        self._board = board
        self._limits = limits
        self.policy = None  # made when it is first asked for
        self.sleep_ms = board.sleep_ms
        self.ticks_us = board.ticks_us
        self.ticks_diff = board.ticks_diff
        self.threads = threads.install()
        self.clock = Clock(board.ticks_ms, board.ticks_diff, self.threads.lock())
        self.network = network.install()
        self._lock = self.threads.lock()
        self._making = self.threads.lock()
        self.memory = Memory(board, self.clock)
        self.load = Load(board, self.threads.ident)
        self.storage = Storage(board, self.clock)
        self.storage.read()
        self.history = History()
        self.values = [None] * _VALUES
        self.boot_id = board.random_30()
        self.sample = Sample(self.values)
        self.identity = (
            board.machine()[:40],
            board.firmware()[:24],
            board.port()[:16],
            board.unique_id() or b"",
            board.reset_cause(),
            VERSION,
        )
        self.capabilities = Capabilities(self)
        self.interval_ms = 0
        self.faults = 0  # exceptions inside the agent itself
        self.link = link
        self.uplink = self.session = None
        self._busy_us = 0  # the agent's own time since the last sample
        self._due_s = 0
        self._due_ms = 0
        self._last_s = 0
        self._last_ms = 0
        self._last_sent = 0
        self._network_s = 0
        self._scale_memory = _shift_for(self.memory.total)
        if link is not None:
            self._open_session(link)
        self.start_monitoring(interval_ms)
        self.step()  # so that there is something to tell from the first moment

    def _open_session(self, link):
        self.uplink = Uplink(link)
        tables = [
            Hello(self.boot_id, self.identity, self.capabilities.reasons),
            StorageTable(self.storage),
        ]
        self._hello, self._storage_table = tables
        handlers = {
            _PING: self.ping,
            _START_MONITORING: self.start_monitoring,
            _STOP_MONITORING: self.stop_monitoring,
            _HISTORY_READ: self.history_read,
            _ALLOCATE: self._allocate,
            _RELEASE: self._release,
            _BEGIN: self._begin,
            _COMPLETE: self._complete,
            _CAN_EXECUTE: self._can_execute,
            _SET_LIMITS: self._set_limits,
            _SET_THRESHOLD: self._set_threshold,
            _CANCEL: self._cancel,
            _TELL_METERS: self._tell_meters,
        }
        self.session = Session(
            link,
            self.uplink,
            self.clock,
            self.sample,
            tables,
            handlers,
            self._host,
        )

    def close(self):
        """Leave everything as it was found."""
        self.interval_ms = 0
        self.load.detach()
        if self.link is not None:
            self.link.close()

    # --- running --------------------------------------------------------------------------------

    def step(self, listen=False):
        """Take a sample if it is time, and send what is due; return the ms until the next.

        listen: read the link first. Never raises, never waits, allocates nothing in steady state.
        """
        wait = 1000
        began = self.ticks_us()
        if not self._lock.acquire(0):
            return 10  # another thread is at it
        try:  # at once: Ctrl-C must not leave it locked
            self._busy_us += self.memory.spent_us  # in collections before a refusal
            if listen and self.session is not None:
                self.session.receive()
            wait = self._step()
        except Exception:
            self.faults += 1
        finally:
            self._busy_us += self.ticks_diff(self.ticks_us(), began)
            self.memory.spent_us = 0
            self._lock.release()
        self._deliver()
        return wait

    def _deliver(self):
        """Let the application's own code hear of what happened."""
        if self.policy is not None:
            try:
                self.policy.deliver()
            except Exception:
                self.faults += 1

    def decide(self):
        """Return the policy; imported and made at the first call."""
        self._making.acquire(1)
        try:
            if self.policy is None:
                from .policy import Policy

                self.policy = Policy(self, self._board, self._limits)
                if self.session is not None:
                    self._tell_of_policy()
            return self.policy
        finally:
            self._making.release()

    def _tell_of_policy(self):
        for table in self.policy.tables(self.session):
            self.session.tables.append(table)
            if self.session.host_id:
                table.mark()

    def _host(self, host_id, what):
        """Take the session's word of a host: "found", "alive", "lost" or "gone"."""
        if self.policy is not None:
            self.policy.host(host_id, what)

    def _step(self):
        clock = self.clock
        clock.advance()
        left = 1000
        if self.policy is not None:
            self.policy.tick()
        if self.interval_ms:
            left = -clock.since(self._due_s, self._due_ms)
            if left <= 0:
                self._take_sample()
                left = self._plan(-left)
            elif self.memory.reading:
                self.memory.read_on()
            if self.memory.reading:
                left = min(left, _SLICE_PAUSE_MS)
        if self.session is not None and self.session.pump():
            return min(left, 100)  # the link was full; see again soon
        return left

    def _plan(self, late_ms):
        """Set when the next sample is due; skip the ones that are past. Return the ms until."""
        interval = self.interval_ms
        left = interval - late_ms % interval if late_ms < 1 << 28 else interval
        due = self.clock.ms + left
        self._due_s = self.clock.s + due // 1000
        self._due_ms = due % 1000
        return left

    def _take_sample(self):
        clock = self.clock
        period_ms = clock.since(self._last_s, self._last_ms)
        self._last_s = clock.s
        self._last_ms = clock.ms
        self.load.read(period_ms)
        self.memory.read()
        if clock.s >= self._network_s:
            self._network_s = clock.s + _NETWORK_PERIOD_S
            self.network.read()
        if self.storage.due():
            changed = self.storage.read()
            if self.session is not None:
                self._storage_table.mark(changed if self.session.host_id else 0)
        self._fill(period_ms)
        self._file()
        if self.policy is not None:
            self.policy.look(period_ms)
        if self.capabilities.update() and self.session is not None and self.session.host_id:
            self._hello.mark()
        self.sample.renew(self.session is not None and self.session.host_id)

    def _fill(self, period_ms):
        """Put the sensors' figures into the sample."""
        values = self.values
        clock = self.clock
        memory = self.memory
        load = self.load
        network = self.network
        values[_UPTIME_S] = clock.s
        values[_UPTIME_MS] = clock.ms
        values[_INTERVAL_MS] = self.interval_ms
        values[_TOTAL_BYTES] = memory.total
        values[_FREE_BYTES] = memory.free
        values[_LIVE_BYTES] = memory.live
        values[_LARGEST_FREE_BLOCK_BYTES] = memory.largest
        values[_CPU_PERMILLE] = load.cpu_permille
        values[_LOOP_LAG_MS] = load.lag_ms
        values[_LOOP_LAG_WORST_MS] = load.worst_ms
        values[_TASKS] = load.tasks
        values[_THREADS] = None if self.threads.early else self.threads.active
        values[_CONNECTED] = network.connected
        values[_RSSI_DBM] = network.rssi_dbm
        values[_SENT_BYTES] = network.sent
        values[_RECEIVED_BYTES] = network.received
        values[_FAULTS] = self.faults
        if period_ms > 0:
            values[_OVERHEAD_PERMILLE] = (self._busy_us + (period_ms >> 1)) // period_ms
            self._busy_us = 0
        if self.session is not None:
            sent = self.uplink.sent
            if 0 < period_ms < 60_000:  # in which 2**16 bytes cannot have gone unseen, at 1 kB/s
                values[_LINK_BYTES_PER_S] = (sent - self._last_sent & 0xFFFF) * 1000 // period_ms
            self._last_sent = sent
            values[_DROPPED_FRAMES] = self.sample.dropped
            values[_SKIPPED_FRAMES] = self.session.skipped
            values[_BAD_FRAMES] = self.session.bad

    def _file(self):
        """File the sample's figures in the history."""
        row = self.history.row
        memory = self.memory
        load = self.load
        row[0] = _NONE if memory.live is None else memory.live >> self._scale_memory
        row[1] = _NONE if load.cpu_permille is None else load.cpu_permille
        row[2] = _NONE if load.lag_ms is None else min(load.lag_ms, _NONE - 1)
        rows = self.storage.rows
        if rows:
            row[3] = rows[0][2] - rows[0][3] >> _shift_for(rows[0][2])
        self.history.add(self.clock.s)

    # --- what may be asked of it ----------------------------------------------------------------

    def start_monitoring(self, interval_ms):
        """Sample every interval_ms (20 to 600 000) from now on; return it. ValueError otherwise."""
        if not isinstance(interval_ms, int) or isinstance(interval_ms, bool):
            raise TypeError("interval_ms must be an int")
        if not _MIN_INTERVAL_MS <= interval_ms <= _MAX_INTERVAL_MS:
            raise ValueError("interval_ms must be 20 to 600000")
        self.interval_ms = interval_ms
        self.clock.advance()
        self._due_s = self.clock.s
        self._due_ms = self.clock.ms
        return interval_ms

    def stop_monitoring(self):
        """Take no more samples; the link goes on, and tells so."""
        self.interval_ms = self.values[_INTERVAL_MS] = 0
        self.sample.renew(self.session is not None and self.session.host_id)

    def ping(self):
        """Answer, and nothing else."""

    def scale(self, metric):
        """Return what a figure in the history is to be multiplied with, by metric."""
        if metric == 0:
            return 1 << self._scale_memory
        if metric == 3 and self.storage.rows:
            row = self.storage.rows[0]
            return row[1] << _shift_for(row[2])
        return 1

    def history_limit(self, metric):
        """Return what a metric of the history, memory or storage, can reach; in its scale."""
        if metric == 0:
            return self.memory.total >> self._scale_memory
        blocks = self.storage.rows[0][2]
        return blocks >> _shift_for(blocks)

    def history_read(self, tier, metric, stat):
        """Return [newest_s, step_s, scale, bytes]: a column of the history, see docs/wire.md."""
        for value, limit in ((tier, 3), (metric, 4), (stat, 3)):
            if not isinstance(value, int) or not 0 <= value < limit:
                raise ValueError("no such column")
        history = self.history
        column = history.column(tier, metric, stat)
        data = bytearray(2 * len(column))
        for index, value in enumerate(column):  # little-endian on every board
            data[2 * index] = value & 0xFF
            data[2 * index + 1] = value >> 8
        return [history.newest_s(tier), history.step_s(tier), self.scale(metric), data]

    # --- what a host may ask of the policy ------------------------------------------------------

    def _host_session(self):
        return self.decide().session_of(self.session.host_id)

    def _allocate(self, resource, amount, owner, priority, ttl_ms, mount):
        options = {"owner": owner or "", "priority": 1 if priority is None else priority}
        if ttl_ms is not None:
            options["ttl_ms"] = ttl_ms
        session = self._host_session()
        return self.policy.allocate(resource, amount, session, mount=mount, **options).id

    def _release(self, lease_id):
        self.decide().ledger.find(lease_id).release()

    def _begin(self, name, priority, timeout_ms, memory, wait_ms):
        session = self._host_session()
        options = {"timeout_ms": timeout_ms, "wait_ms": wait_ms or 0, "memory": memory}
        options["priority"] = 1 if priority is None else priority
        op = self.policy.begin(name, session, **options)
        return [op.id, op.state]

    def _complete(self, op_id):
        self.decide().operations.find(op_id).complete()

    def _can_execute(self, priority):
        return self.decide().can_execute(priority)

    def _set_limits(self, *limits):
        return self.decide().set_limits(*limits)

    def _set_threshold(self, metric, warn, critical, clear, hold_ms, action):
        self.decide().thresholds.set(metric, warn, critical, clear, hold_ms or 0, action or 0)

    def _cancel(self, op_id):
        operations = self.decide().operations
        operations.stop(operations.find(op_id), Preempted)

    def _tell_meters(self, for_ms):
        self.decide().tell_meters(for_ms)
