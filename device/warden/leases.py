"""Leases: what was granted of memory, storage, the core's time and the network, and until when.

A lease is granted only if what is there, less a reserve and less what was granted and not yet
taken, covers it. All that is granted ends: released, expired, its session closed, or preempted by
a higher priority where its holder agreed to that.
"""

from micropython import const

from warden_schema import codec

from .deadline import Deadline
from .errors import Denied

_LEASES = const(16)
_MAX_AMOUNT = const(0x3FFFFFFF)
_MAX_NAME = const(24)

_MEMORY = const(0)
_STORAGE = const(1)
_CPU_TIME = const(2)
_NETWORK_BANDWIDTH = const(3)

_LOW = const(0)
_CRITICAL = const(3)

# Why a lease ended, as its event tells.
RELEASED = "released"
EXPIRED = "expired"
PREEMPTED = "preempted"
DROPPED = "dropped"  # its holder let go of it


def _nobody(row):
    """Stand for who wants to know of changes."""


class Lease:
    """A grant; also a context manager that releases it. `active` is False once it has ended."""

    def __init__(self, ledger, lease_id, kind, amount, owner, priority, ttl_ms, session, mount):
        clock = ledger.clock
        self.id = lease_id
        self.kind = kind
        self.amount = amount  # bytes, permille of a core, or bytes a second
        self.owner = owner
        self.priority = priority
        self.session = session  # or None
        self.mount = mount
        self.granted_s = clock.s
        self.deadline = Deadline(clock, ttl_ms)
        self.on_preempt = None
        self.committed = False
        self.buffer = None  # the memory itself, where it was asked for with backed=True
        self.used = 0  # bytes written (storage)
        self.active = True
        self.dropped = False  # nobody holds it any more; set while garbage is collected
        self._ledger = ledger
        self._tokens = amount  # bytes that may go now (bandwidth)
        self._filled_s = clock.s
        self._filled_ms = clock.ms

    def commit(self):
        """Say that the holder has taken what was granted: it shows in the measured use now."""
        self.committed = True
        self._ledger.touch(self)

    def drop(self):
        """Note that nobody holds it any more; it is ended soon."""
        self.dropped = True
        self._ledger.clock.now()

    def release(self):
        """Give it back; harmless if it has ended already."""
        self._ledger.end(self, RELEASED)

    def outstanding(self):
        """Return how much is granted and cannot be seen in the measured use yet."""
        if self.committed or self.buffer is not None:
            return 0
        return max(0, self.amount - self.used)

    def take(self, count):
        """Take `count` bytes of bandwidth; return 0, or the ms to wait before asking again.

        The bucket holds a second's worth. ValueError for more than it ever holds.
        """
        if self.kind != _NETWORK_BANDWIDTH:
            raise ValueError("only a bandwidth lease has bytes to take")
        if not 0 <= count <= self.amount:
            raise ValueError("more than the bucket holds")
        clock = self._ledger.clock
        clock.advance()
        passed = min(1000, clock.since(self._filled_s, self._filled_ms))
        self._filled_s = clock.s
        self._filled_ms = clock.ms
        self._tokens = min(self.amount, self._tokens + self.amount * passed // 1000)
        if count <= self._tokens:
            self._tokens -= count
            return 0
        return (count - self._tokens) * 1000 // self.amount + 1

    def open(self, path, mode="r"):
        """Open a file on the lease's mount; writing past the lease raises OSError(ENOSPC)."""
        if self.kind != _STORAGE:
            raise ValueError("only a storage lease opens files")
        from .metered_file import MeteredFile

        return MeteredFile(self, path, mode)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.release()
        return False


class Ledger:
    """Grants and ends leases. `supply` tells what is there, `lock` guards the table.

    supply.available(kind, mount) -> free amount less the reserve, before outstanding grants;
    supply.most() -> the most memory that could ever be granted;
    supply.largest_block() -> bytes or None; supply.collect() -> whether it collected garbage, which
    it does not all the time, and supply.collect_in_ms() -> when it would again.
    """

    def __init__(self, supply, clock, lock, post):
        self.clock = clock
        self._supply = supply
        self._lock = lock
        self._post = post  # of events: post(kind, subject, detail, value)
        self.table = [None] * _LEASES
        self.changed = _nobody  # function of a row that changed, None for one that is free now
        self.ended = 0  # so many leases, modulo 2**16: who waits for memory sees that it changed
        self._next_id = 1

    def active(self):
        """Return the leases that have not ended, oldest first."""
        self.expire()
        return sorted([lease for lease in self.table if lease], key=lambda lease: lease.id)

    def find(self, lease_id):
        """Return the active lease of that id; KeyError if there is none."""
        for lease in self.table:
            if lease is not None and lease.id == lease_id:
                return lease
        raise KeyError(lease_id)

    def outstanding(self, kind, mount=None):
        """Return the sum of what is granted of a kind and not yet seen in the measured use."""
        total = 0
        for lease in self.table:
            if lease is not None and lease.kind == kind and lease.mount == mount:
                total += lease.outstanding()
        return total

    def allocate(
        self,
        kind,
        amount,
        owner="",
        priority=1,
        ttl_ms=60_000,
        session=None,
        backed=False,
        mount=None,
        on_preempt=None,
    ):
        """Grant a lease, or raise Denied; ValueError or TypeError for what makes no sense.

        kind: MEMORY, STORAGE, CPU_TIME or NETWORK_BANDWIDTH; amount: bytes, permille of a core, or
        bytes a second; ttl_ms: None for no end of its own; backed: take the memory now, it is in
        `lease.buffer`; mount: of a storage lease; on_preempt: a function of the lease, which lets
        one of higher priority end it.
        """
        _check(kind, amount, owner, priority, ttl_ms, backed)
        if kind != _STORAGE:
            mount = None  # else what is granted under one mount would not count under another
        elif mount is None:
            mount = "/"
        self.clock.advance()
        self.expire()
        while True:
            victim = None
            self._lock.acquire(1)
            try:
                place = self._free_place()
                available = self._available(kind, amount, mount)
                if place is not None and amount <= available:
                    return self._grant(
                        place,
                        kind,
                        amount,
                        owner,
                        priority,
                        ttl_ms,
                        session,
                        backed,
                        mount,
                        on_preempt,
                    )
                victim = self._victim(kind, mount, priority, amount - available, place is None)
            finally:
                self._lock.release()
            if victim is None:
                self._deny(kind, amount, mount, available, place is None)
            self.preempt(victim)

    def end(self, lease, why):
        """End a lease; return whether this did, False if it had ended before."""
        self._lock.acquire(1)
        try:
            if not lease.active:
                return False
            lease.active = False
            lease.buffer = None
            self.table[self.table.index(lease)] = None
            self.ended = (self.ended + 1) & 0xFFFF
            self.clock.now()  # who waits for memory
        finally:
            self._lock.release()
        self.changed(None)
        self._post("lease", lease.id, why, lease.amount)
        return True

    def touch(self, lease):
        """Have whoever wants to know told that a lease changed, if it has not ended."""
        for place in range(_LEASES):
            if self.table[place] is lease:
                self.changed(place)

    def expire(self):
        """End what is over its time, or held by nobody; allocates nothing where nothing is."""
        place = 0
        while place < _LEASES:
            lease = self.table[place]
            if lease is not None:
                if lease.dropped:
                    self.end(lease, DROPPED)
                elif lease.deadline.passed():
                    self.end(lease, EXPIRED)
            place += 1

    def preempt(self, lease):
        """End a lease whose holder agreed to that, and tell the holder."""
        if self.end(lease, PREEMPTED):
            try:
                lease.on_preempt(lease)
            except Exception as error:
                self._post("callback_failed", lease.id, type(error).__name__)

    # --- deciding -------------------------------------------------------------------------------

    def _free_place(self):
        for place in range(_LEASES):
            if self.table[place] is None:
                return place
        return None

    def _available(self, kind, amount, mount):
        """Return what could be granted now; collects once before it says too little of memory.

        Negative where more is granted than is there now.
        """
        supply = self._supply
        available = supply.available(kind, mount) - self.outstanding(kind, mount)
        if kind == _MEMORY and available < amount and supply.collect():
            available = supply.available(kind, mount) - self.outstanding(kind, mount)
        return available

    def _victim(self, kind, mount, priority, lacking, any_kind):
        """Return the lease to preempt: of the lowest priority below this one, the newest.

        None where all that may be preempted is less than what is lacking: none would end in vain.
        """
        found = None
        for lease in self.table:
            if lease is None or lease.on_preempt is None or lease.priority >= priority:
                continue
            alike = lease.kind == kind and lease.mount == mount
            if alike:
                lacking -= lease.amount
            if (any_kind or alike) and (
                found is None or (lease.priority, -lease.id) < (found.priority, -found.id)
            ):
                found = lease
        return found if lacking <= 0 else None

    def _grant(
        self, place, kind, amount, owner, priority, ttl_ms, session, backed, mount, on_preempt
    ):
        buffer = self._block(amount) if backed else None
        owner = codec.cut(owner, _MAX_NAME)
        lease = Lease(self, self._next_id, kind, amount, owner, priority, ttl_ms, session, mount)
        lease.on_preempt = on_preempt
        lease.buffer = buffer
        self._next_id = self._next_id % _MAX_AMOUNT + 1
        self.table[place] = lease
        lease.deadline.passed()  # is looked at in time, now that it can be found
        self.changed(place)
        return lease

    def _block(self, amount):
        """Return a memoryview of so many bytes; raise Denied where no free run is so long."""
        supply = self._supply
        largest = supply.largest_block()
        if largest is not None and largest < amount and supply.collect():
            largest = supply.largest_block()
        if largest is None or largest >= amount:
            try:
                return memoryview(bytearray(amount))
            except MemoryError:
                pass
        self._post("denied", None, "fragmented", amount)
        raise Denied("fragmented", largest, supply.collect_in_ms() or None)

    def _deny(self, kind, amount, mount, available, table_full):
        blockers = []
        soonest = None
        for lease in self.table:
            if lease is None or not (table_full or (lease.kind == kind and lease.mount == mount)):
                continue
            if table_full or lease.outstanding() or lease.buffer is not None:
                blockers.append(lease.id)
                left = lease.deadline.left_ms()
                if left is not None and (soonest is None or left < soonest):
                    soonest = left
        if kind == _MEMORY and amount > self._supply.most():
            soonest = None  # whoever gives back whatever
        elif kind == _MEMORY and not table_full:
            left = self._supply.collect_in_ms()  # then it may be seen that some was garbage
            if left and (soonest is None or left < soonest):
                soonest = left
        reason = "table" if table_full else ("memory", "storage", "cpu_time", "bandwidth")[kind]
        self._post("denied", None, reason, amount)
        raise Denied(reason, max(0, available), soonest, tuple(blockers))


def _check(kind, amount, owner, priority, ttl_ms, backed):
    """Raise TypeError or ValueError for what makes no sense."""
    for value in (kind, amount, priority):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError("kind, amount and priority are integers")
    if not isinstance(owner, str):
        raise TypeError("owner is a str")
    if not _MEMORY <= kind <= _NETWORK_BANDWIDTH:
        raise ValueError("no such resource")
    if not 0 < amount <= _MAX_AMOUNT:
        raise ValueError("amount must be 1 to 2**30 - 1")
    if not _LOW <= priority <= _CRITICAL:
        raise ValueError("no such priority")
    if ttl_ms is not None and (not isinstance(ttl_ms, int) or ttl_ms <= 0):
        raise ValueError("ttl_ms must be a positive integer, or None")
    if backed and kind != _MEMORY:
        raise ValueError("only memory can be backed")
