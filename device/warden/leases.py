"""Leases: what was granted of memory, storage, the core's time and the network, and until when.

A lease is granted only if what is there, less a reserve and less what was granted and not yet
taken, covers it. All that is granted ends: released, expired, its session closed, or preempted by
a higher priority where its holder agreed to that.
"""

from array import array

from micropython import const

from warden.errors import Denied
from warden.timed import FREE, Timed, run_in, soonest_ms
from warden_schema import codec
from warden_schema.loops import enter, take_back
from warden_schema.loops import release as _release

_LEASES = const(16)
_MAX_AMOUNT = const(0x3FFFFFFF)
_MAX_NAME = const(24)

_MEMORY = const(0)
_STORAGE = const(1)
_NETWORK_BANDWIDTH = const(3)

_NORMAL = const(1)
_CRITICAL = const(3)
_TTL_MS = const(60_000)

# Why a lease ended, as its event tells.
EXPIRED = "expired"
PREEMPTED = "preempted"
DROPPED = "dropped"  # its holder let go of it


class Lease:
    """A grant; also a context manager that releases it. `active` is False once it has ended."""

    # What a lease has of its own is made here, before another thread can see it: see `Operation`.
    owner = ""
    priority = _NORMAL
    session = None
    mount = None
    on_preempt = None
    buffer = None  # the memory itself, where it was asked for with backed=True
    used = 0  # bytes written (storage)

    def __init__(self, ledger, row, lease_id, kind, amount):
        self.id = lease_id
        self.kind = kind
        self.amount = amount  # bytes, permille of a core, or bytes a second
        self.committed = False
        self.active = True
        self.row = row  # in the table, while it is there
        self.ledger = ledger
        if kind == _NETWORK_BANDWIDTH:
            self._bucket = None  # (tokens, s, ms): bytes that might go at that moment

    def commit(self):
        """Say that the holder has taken what was granted: it shows in the measured use now."""
        self.ledger.commit(self)

    def drop(self):
        """Note that nobody holds it any more; it is ended soon."""
        self.ledger.drop(self)

    release = _release

    def outstanding(self):
        """Return how much is granted and cannot be seen in the measured use yet."""
        if self.committed:
            return 0
        return max(0, self.amount - self.used)

    def take(self, count):
        """Take `count` bytes of bandwidth; return 0, or the ms to wait before asking again.

        The bucket holds a second's worth. ValueError for more than it ever holds.
        """
        if self.kind != _NETWORK_BANDWIDTH:
            raise ValueError("only a bandwidth lease has bytes to take")
        amount = self.amount
        if not 0 <= count <= amount:
            raise ValueError("more than the bucket holds")
        clock = self.ledger.clock
        clock.advance()
        tokens = amount
        if self._bucket is not None:
            tokens, s, ms = self._bucket
            tokens = min(amount, tokens + amount * min(1000, clock.since(s, ms)) // 1000)
        left = tokens - count
        self._bucket = (tokens if left < 0 else left, clock.s, clock.ms)
        return 0 if left >= 0 else -left * 1000 // amount + 1

    def open(self, path, mode="r"):
        """Open a file on the lease's mount; writing past the lease raises OSError(ENOSPC)."""
        if self.kind != _STORAGE:
            raise ValueError("only a storage lease opens files")
        from warden.metered_file import MeteredFile

        return MeteredFile(self, path, mode)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.release()
        return False


class Ledger(Timed):
    """Grants and ends leases. `supply` tells what is there, `events` are told.

    lock: the one of `events`, which are told with it held.
    supply.available(kind, mount) -> free amount less the reserve, before outstanding grants;
    supply.most() -> the most memory that could ever be granted;
    supply.largest_block() -> bytes or None; supply.collect() -> whether it collected garbage, which
    it does not all the time, and supply.collect_in_ms() -> when it would again.
    """

    def __init__(self, supply, clock, lock, events):
        super().__init__(clock, lock, _LEASES)
        self.ended = 0  # so many leases, modulo 2**16: who waits for memory sees that it changed
        self.agreed = 0  # so many may be preempted
        self.awaited = False  # whether an operation waits, maybe for memory
        self._supply = supply
        self._available = supply.available
        self._events = events
        self.put = events.put
        self.sums = [0, 0, 0, 0]  # of each kind, granted and not seen yet; not of storage
        self._dropped = None  # ids of leases that nobody holds any more
        self._any_dropped = False
        self._integer = array("i", bytes(4))
        self._owner = ""  # the last that was looked at: most ask again and again

    def active(self):
        """Return the leases that have not ended, oldest first."""
        self.clock.advance()
        self.expire()
        return self.all()

    def outstanding(self, kind, mount=None):
        """Return the sum of what is granted of a kind and not yet seen in the measured use."""
        if kind != _STORAGE:
            return self.sums[kind]
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
        if not 0 <= kind <= _NETWORK_BANDWIDTH:
            raise ValueError("no such resource")
        if not 0 < amount <= _MAX_AMOUNT:
            raise ValueError("amount must be 1 to 2**30 - 1")
        if not 0 <= priority <= _CRITICAL:
            raise ValueError("no such priority")
        integer = self._integer  # raises TypeError for what is none
        integer[0] = kind
        integer[0] = priority
        integer[0] = amount
        if owner is not self._owner:
            owner = self._owned(owner)
        if backed or ttl_ms != _TTL_MS or amount is True or priority is True or kind is True:
            _check(kind, amount, priority, ttl_ms, backed)
        else:
            ttl_ms = _TTL_MS  # whatever type it is of
        if kind != _STORAGE:
            mount = None  # else what is granted under one mount would not count under another
        elif mount is None:
            mount = "/"
        clock = self.clock
        clock.advance()
        if clock.s >= clock.next_s:
            self.expire()
        while True:
            self.acquire(1)
            try:
                row = self.free.find(FREE)
                taken = self.sums[kind] if kind != _STORAGE else self.outstanding(kind, mount)
                left = self._available(kind, mount) - taken
                if left < amount and kind == _MEMORY and self._supply.collect():
                    left = self._available(kind, mount) - taken
                if row >= 0 and amount <= left:
                    buffer = self._block(amount) if backed else None
                    lease = Lease(self, row, self.next_id, kind, amount)
                    if owner:
                        lease.owner = owner
                    if priority != _NORMAL:
                        lease.priority = priority
                    if session is not None:
                        lease.session = session
                    if on_preempt is not None:
                        lease.on_preempt = on_preempt
                        self.agreed += 1
                    if buffer is not None:
                        lease.buffer = buffer
                        lease.committed = True
                    elif kind == _STORAGE:
                        lease.mount = mount
                        lease.used = 0
                    else:
                        self.sums[kind] += amount
                    enter(self, lease)
                    run_in(self, row, ttl_ms)
                    return lease
                victim = None
                if self.agreed:
                    victim = self._victim(kind, mount, priority, amount - left, row < 0)
                if victim is None:
                    self._deny(kind, amount, mount, left, row < 0)
            finally:
                self.release()
            self.preempt(victim)

    def end(self, lease, why):
        """End a lease; return whether this did, False if it had ended before."""
        self.clock.advance()
        self.acquire(1)
        try:
            if why is EXPIRED and not self.is_over(lease.row):
                return False  # it was another's row when that was over
            return bool(take_back(self, lease, why))
        finally:
            self.release()

    def commit(self, lease):
        """Note that the holder has taken what was granted."""
        self.acquire(1)
        try:
            if not lease.committed:
                lease.committed = True
                if lease.kind != _STORAGE:
                    self.sums[lease.kind] -= lease.amount
                if lease.active:
                    self.changed(lease.row)
        finally:
            self.release()

    def watch_dropped(self):
        """Have it told by drop() that nobody holds a lease any more."""
        self._dropped = array("i", bytes(4 * _LEASES))

    def drop(self, lease):
        """Note that nobody holds a lease; this runs while garbage is collected: no lock."""
        if lease.active:
            self._dropped[lease.row] = lease.id
            self._any_dropped = True
            self.clock.now()

    def expire(self):
        """End what is over its time, or held by nobody; allocates nothing where nothing is."""
        if self._any_dropped:
            self._end_dropped()
        over = self.over()
        row = 0
        while over:
            lease = self.table[row]
            if over & 1 and lease is not None:
                self.end(lease, EXPIRED)
            over >>= 1
            row += 1

    def _end_dropped(self):
        self._any_dropped = False
        for lease in self.table:
            if lease is not None and self._dropped[lease.row] == lease.id:
                self.end(lease, DROPPED)

    def preempt(self, lease):
        """End a lease whose holder agreed to that, and tell the holder."""
        if self.end(lease, PREEMPTED):
            try:
                lease.on_preempt(lease)
            except Exception as error:
                self._events.post("callback_failed", lease.id, type(error).__name__)

    # --- deciding -------------------------------------------------------------------------------

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
        self.put("denied", None, "fragmented", amount)
        raise Denied("fragmented", largest, supply.collect_in_ms() or None)

    def _deny(self, kind, amount, mount, available, table_full):
        """Raise Denied; with the lock held."""
        if table_full:
            blockers = self.table
        else:
            blockers = []
            for lease in self.table:
                if lease is not None and lease.kind == kind and lease.mount == mount:
                    if lease.buffer is not None or lease.outstanding():
                        blockers.append(lease)
        soonest = soonest_ms(self, blockers)
        if kind == _MEMORY and amount > self._supply.most():
            soonest = None  # whoever gives back whatever
        elif kind == _MEMORY and not table_full:
            left = self._supply.collect_in_ms()  # then it may be seen that some was garbage
            if left and (soonest is None or left < soonest):
                soonest = left
        reason = "table" if table_full else ("memory", "storage", "cpu_time", "bandwidth")[kind]
        self.put("denied", None, reason, amount)
        ids = tuple([lease.id for lease in blockers])
        raise Denied(reason, max(0, available), soonest, ids)

    def _owned(self, owner):
        """Return an owner's name as it is kept, and remember it if it is so already."""
        if not isinstance(owner, str):
            raise TypeError("owner is a str")
        cut = codec.cut(owner, _MAX_NAME)
        if cut == owner:
            self._owner = owner
        return cut


def _check(kind, amount, priority, ttl_ms, backed):
    """Raise TypeError or ValueError for what makes no sense."""
    for value in (kind, amount, priority):
        if isinstance(value, bool):
            raise TypeError("kind, amount and priority are integers")
    if ttl_ms is not None and (not isinstance(ttl_ms, int) or ttl_ms <= 0):
        raise ValueError("ttl_ms must be a positive integer, or None")
    if backed and kind != _MEMORY:
        raise ValueError("only memory can be backed")
