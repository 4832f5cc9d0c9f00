"""Leases: what was granted of memory, storage, the core's time and the network, and until when.

A lease is granted only if what is free, less a reserve and less what was granted and not yet
used, covers it. All that is granted ends: released, expired, its session closed, or preempted by
a higher priority where its holder agreed to that.
"""

from micropython import const

from warden.checks import check_int
from warden.errors import check_text, deny
from warden.policy.deadlines import Row, Rows, check_session, end_entry, is_weaker
from warden.sensors.threads import import_lock
from warden_schema.codec import cut

_MAX_LEASES = const(16)
_MAX_AMOUNT = const(0x3FFFFFFF)
_GRANT_COLLECT_PAUSE = const(20)  # before a refusal: a twentieth of the core at most
_MAX_NAME = const(24)  # bytes of UTF-8; longer ones are cut

_NORMAL = const(1)  # a priority
_KIND_MEMORY = const(0)  # kinds, by their places in ids.RESOURCES
_KIND_STORAGE = const(1)
_KIND_BANDWIDTH = const(3)
_REASONS = const(("memory", "storage", "cpu_time", "bandwidth"))  # by kind


class Lease(Row):
    """A granted amount of a resource; also a context manager that releases it.

    `active` is False once it has ended.
    """

    owner = ""
    mount = None
    on_preempt = None
    buffer = None  # the memory itself, if it was allocated with backed=True
    release = end_entry

    def __init__(self, table, kind, amount):
        self.table = table
        self.row = self.id = self.began_s = 0
        self.kind = kind
        self.amount = amount  # bytes, permille of a core, or bytes a second
        self.used = 0  # bytes written (storage)
        self.bucket = None  # (tokens, s, ms): thousandths of bytes that could go then (bandwidth)
        self.committed = False
        self.active = True
        self.dropped = False  # its LeaseHandle was collected as garbage

    def commit(self):
        """Say that the holder uses what was granted, so that the measured use includes it now."""
        self.committed = True
        if self.active:
            self.table.mark_dirty(self.row)

    def outstanding(self):
        """Return how much of the lease the measured use does not include yet."""
        return 0 if self.committed else max(0, self.amount - self.used)

    def take(self, count):
        """Take `count` bytes of bandwidth; return 0, or the ms to wait before the next try.

        The bucket holds a second's worth. ValueError for more than it ever holds.
        """
        if self.kind != _KIND_BANDWIDTH:
            raise ValueError("a lease of another kind")
        amount = self.amount
        check_int("count", count, 0, amount)
        clock = self.table.clock
        clock.advance()
        with self.table.lock:
            left = amount * 1000
            if self.bucket is not None:
                tokens, s, ms = self.bucket
                left = min(left, tokens + amount * min(1000, -clock.until_ms(s, ms)))
            left -= count * 1000
            if left < 0:
                return -left // amount + 1
            self.bucket = (left, clock.s, clock.ms)
        return 0

    def open(self, path, mode="r"):
        """Open a file on the lease's mount; writing past the lease raises OSError(ENOSPC)."""
        if self.kind != _KIND_STORAGE:
            raise ValueError("a lease of another kind")
        with import_lock:
            from warden.metered_file import MeteredFile
        return MeteredFile(self, path, mode)


class Leases(Rows):
    """The table of leases: grants and ends them.

    policy: available(kind, mount), the free amount less the reserve, before what is granted;
    memory, which collects garbage.
    """

    def outstanding(self, kind, mount=None):
        """Return the sum of outstanding() over the leases of a kind."""
        total = 0
        for lease in self.rows:
            if lease is not None and lease.kind == kind and lease.mount == mount:
                total += lease.outstanding()
        return total

    def allocate(
        self,
        kind,
        amount,
        owner,
        priority,
        ttl_ms,
        session,
        backed=False,
        mount=None,
        on_preempt=None,
        admitted=False,
    ):
        """Grant a lease, or raise Denied; ValueError or TypeError for what makes no sense.

        kind: MEMORY, STORAGE, CPU_TIME or NETWORK_BANDWIDTH; amount: bytes, permille of a core, or
        bytes a second; ttl_ms: None for no end of its own; backed: take the memory now, it is in
        `lease.buffer`; mount: of a storage lease; on_preempt: a function of the lease, which lets
        one of higher priority end it. admitted: for an operation, which its session and what is
        critical have let in: to wait for its place is no use of the session.
        """
        lease = None
        try:
            check_int("kind", kind, _KIND_MEMORY, _KIND_BANDWIDTH)
            check_int("amount", amount, 1, _MAX_AMOUNT)
            if priority is not _NORMAL:
                check_int("priority", priority, 0, 3)
            if ttl_ms is not None:
                check_int("ttl_ms", ttl_ms, 1, None)
            if not isinstance(owner, str):
                raise TypeError("owner must be a str")
            if backed and kind != _KIND_MEMORY:
                raise ValueError("only memory can be backed")
            if kind != _KIND_STORAGE:
                mount = None  # else what is granted under one mount would not count under another
            elif mount is None:
                mount = "/"
            elif not isinstance(mount, str):
                raise TypeError("mount must be a str")
            clock = self.clock
            clock.advance()
            if clock.deadline_s <= clock.s:
                self.run_due()
            lease = Lease(self, kind, amount)
            if owner:
                if owner is not self.last_owner:
                    self.last_owner = owner = check_text(cut(owner, _MAX_NAME))
                lease.owner = owner
            if priority != _NORMAL:
                lease.priority = priority
            if mount is not None:
                lease.mount = mount
            if session is not None:
                check_session(session)
                lease.session = session
            if on_preempt is not None:
                lease.on_preempt = on_preempt
            for _ in range(_MAX_LEASES):
                victim = self._grant(lease, ttl_ms, backed, admitted)
                if victim is None:
                    return lease
                self.preempt(victim)
            with self.lock:  # each victim's `on_preempt` has taken it again
                raise self._denied(lease, 0, False)
        except MemoryError:
            self.policy.events.post("denied", None, "memory", amount)
            if lease is not None:
                self.end(lease)
            raise deny("memory", 0, self.policy.memory.collect_in_ms(_GRANT_COLLECT_PAUSE) or None)
        except BaseException:
            if lease is not None:
                self.end(lease)
            raise

    def _grant(self, lease, ttl_ms, backed, admitted):
        """Add a lease if there is enough; return the lease to preempt first, or raise Denied."""
        kind = lease.kind
        amount = lease.amount
        mount = lease.mount
        policy = self.policy
        with self.lock:
            if not admitted:
                if lease.session is not None:
                    lease.session.admit(kind, amount)
                if policy.pressure.level:
                    policy.pressure.admit(lease.priority, amount)
            table_full = None not in self.rows
            granted = self.outstanding(kind, mount)
            left = policy.available(kind, mount) - granted
            if (
                left < amount
                and kind == _KIND_MEMORY
                and policy.memory.collect(_GRANT_COLLECT_PAUSE)
            ):
                left = policy.available(kind, mount) - granted
            if table_full or amount > left:
                victim = self._victim(lease, amount - left, table_full)
                if victim is not None:
                    return victim
                raise self._denied(lease, left, table_full)
            if kind == _KIND_MEMORY:
                memory = policy.memory
                largest = memory.block()  # as available() has just read it
                if largest is not None and largest < amount:
                    if memory.collect(_GRANT_COLLECT_PAUSE):
                        largest = memory.block()
                if largest is not None and largest < amount:  # None: the table was lost meanwhile
                    raise self._fragmented(largest, amount)
            if backed:
                try:
                    lease.buffer = memoryview(bytearray(amount))
                except MemoryError:
                    raise self._fragmented(policy.memory.block(), amount)
                lease.committed = True
            self.add(lease, ttl_ms)
        return None

    def _fragmented(self, largest, amount):
        """Add the event that no free block is so large; return the Denied."""
        self.policy.events.add("denied", None, "fragmented", amount)
        wait_ms = self.policy.memory.collect_in_ms(_GRANT_COLLECT_PAUSE)
        return deny("fragmented", largest, wait_ms or None)

    def end(self, lease, why="released"):
        """End a lease; return False if it had ended before."""
        self.clock.advance()
        with self.lock:
            if why == "expired" and not self.is_over(lease.row):
                return False  # it was another's row when that was over
            lease.active = False
            if lease.buffer is not None:
                lease.buffer = None
            if not self.remove(lease):
                return False
            self.ended = self.ended + 1 & 0xFFFF
            self.policy.events.add("lease", lease.id, why, lease.amount)
        return True

    def run_due(self):
        """End leases that are expired or whose handle was dropped; allocates nothing if none is."""
        for lease in self.rows:
            if lease is not None:
                if self.is_over(lease.row):
                    self.end(lease, "expired")
                elif lease.dropped:
                    self.end(lease, "dropped")

    def preempt(self, lease):
        """End a lease that has an `on_preempt` function, and call that."""
        if lease.on_preempt is not None and self.end(lease, "preempted"):
            self.policy.events.call(lease.on_preempt, lease, lease.id)

    def _victim(self, wanted, amount, table_full):
        """Return the lease to preempt for another: of the lowest priority below it, the newest.

        amount: what is lacking. None where all that may be preempted is less: none would end in
        vain.
        """
        victim = None
        for lease in self.rows:
            if lease is None or lease.on_preempt is None or lease.priority >= wanted.priority:
                continue
            alike = lease.kind == wanted.kind and lease.mount == wanted.mount
            if alike:
                amount -= lease.amount
            if (table_full or alike) and is_weaker(lease, victim):
                victim = lease
        return victim if amount <= 0 else None

    def blocks(self, lease, wanted):
        """Tell whether a lease has some of the resource that another one wants."""
        if lease.kind != wanted.kind or lease.mount != wanted.mount:
            return False
        return lease.buffer is not None or lease.outstanding() > 0

    def _denied(self, wanted, available, table_full):
        """Return the Denied: how much is left, which leases have the rest, and until when."""
        policy = self.policy
        kind = wanted.kind
        reason = "table" if table_full else _REASONS[kind]
        denied = self.refuse(reason, max(0, available), wanted.amount, wanted)
        total = policy.memory.total
        most = total - total // 1000 * policy.memory_reserve_permille
        if kind == _KIND_MEMORY and wanted.amount > most:
            denied.retry_after_ms = None  # whoever gives back whatever
        elif kind == _KIND_MEMORY and not table_full:
            # By then it may be seen that some was garbage.
            left = policy.memory.collect_in_ms(_GRANT_COLLECT_PAUSE)
            if left:
                denied.retry_after_ms = min(left, denied.retry_after_ms or left)
        return denied
