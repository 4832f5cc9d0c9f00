"""How much memory operations take: learned by name, for `memory=LEARNED`; loaded at its first use.

Of those whose name is not known one runs at a time: the heap's growth meanwhile is what it takes.
The application's other tasks may add to that, so the figure is at most too high. Afterwards it is
measured again each time that an operation of it runs alone: it rises to what is found at once, and
falls towards it. One that runs out of memory raises it, too. A measurement takes two heap walks, or
a collection, so there are none for 400 times as long as a collection takes after it.

One that is known is granted a lease of that. It is an estimate, of many blocks, and most of a heap
may be garbage: where it is too soon for another collection, what the last one left is believed.
"""

from micropython import const

from warden.policy.leases import Lease
from warden.tables import Table

_NEED = const(15)  # the kind of message
_MAX_NAMES = const(8)
_MAX_COUNT = const(0x3FFFFFFF)
_PROFILE_PAUSE = const(400)  # times what a collection takes, after the last one
_GRANT_COLLECT_PAUSE = const(20)  # before a refusal: a twentieth of the core at most
_NOT_KNOWN = const(2)  # of `learns`, see Operation
_ENDED = const(5)  # a state of an operation
_HIGH = const(2)  # a priority
_MAX_LEARN_S = const(30)  # then the others go on
_LEAST_RAISE = const(1024)  # bytes
_FALL_SHIFT = const(5)  # by a 32nd of what it is too high
_REFUSED_SHIFT = const(4)  # by a 16th of it each second, where it is more than there is


class MemoryNeed:
    """What operations of a name took in `count` runs; typical_bytes is a moving mean."""


class MemoryProfile(Table):
    """The table: the first eight names that were to be learned."""

    def __init__(self, policy):
        super().__init__(
            policy.clock, _NEED, ("name", "count", "typical_bytes", "worst_bytes"), _MAX_NAMES
        )
        self.policy = policy
        self.learner = None  # the operation for which the others of LEARNED wait,
        self.learns_s = 0  # since this uptime
        self.op = None  # that is measured,
        self.least = 0  # bytes in use when it began,
        self.greatest = 0  # and at most since
        self.collections = 0
        self.deadline_s = self.deadline_ms = 0  # when measuring is allowed again

    def look_up(self, op):
        """Set what an operation learns, and the bytes that it is expected to take, if known."""
        row = self.find_row("name", op.name)
        op.memory = op.lease = None
        op.learns = 0  # it never will be known, as the table is full
        if row is not None:
            need = self.rows[row]
            op.learns = _NOT_KNOWN
            if need is not None:
                op.learns = 1
                op.memory = need.worst_bytes

    def is_learning(self):
        """Tell whether an operation runs of which the figure is wanted and not known.

        One that runs for long, a server's, say, is waited for no more.
        """
        op = self.learner
        if op is None or op.state == _ENDED:
            return False
        return self.clock.s - self.learns_s < _MAX_LEARN_S

    def admit(self, op):
        """Tell whether an operation may run; one that is known is granted a lease, for its time.

        The caller has the lock, and a place for it.
        """
        if op.learns == _NOT_KNOWN:
            if op.priority >= _HIGH or not self.is_learning():
                return True
            # One inside the other, in one task: that would wait for itself.
            return op.task is not None and op.task is self.learner.task
        amount = op.memory
        if not amount:
            return True
        leases = self.policy.leases
        granted = leases.outstanding(0)
        if None not in leases.rows:
            return False
        policy = self.policy
        memory = policy.memory
        left = policy.available(0, None)
        if left - granted < amount:
            if memory.collect(_GRANT_COLLECT_PAUSE):
                left = policy.available(0, None)
            elif memory.collect_in_ms(_GRANT_COLLECT_PAUSE):  # else the application forbids it
                left += memory.used_now() - memory.live
        if left - granted < amount:
            clock = self.clock
            if not granted and clock.until_ms(self.deadline_s, self.deadline_ms) <= 0:
                # Else one that is too high would refuse for ever.
                self.deadline_s = clock.s + 1
                row = self.find_row("name", op.name)
                need = self.rows[row]
                need.worst_bytes -= need.worst_bytes >> _REFUSED_SHIFT
                self.mark_dirty(row)
            return False
        lease = Lease(leases, 0, amount)
        lease.owner = op.name
        lease.priority = op.priority
        lease.session = op.session
        leases.add(lease, op.timeout_ms or policy.operation_timeout_ms)
        op.lease = lease
        return True

    def failed(self, op):
        """Raise the figure of an operation that ran out of memory, above what it was granted."""
        with self.policy.lock:
            row = self.find_row("name", op.name)
            need = None if row is None else self.rows[row]
            if need is not None:
                granted = op.memory or need.worst_bytes
                granted += max(_LEAST_RAISE, granted >> 2)
                granted = min(granted, self.policy.memory.total >> 1)
                need.worst_bytes = max(need.worst_bytes, granted)
                self.mark_dirty(row)

    def evaluate(self):
        """Note a sample: what is in use then may be the most that is."""
        if self.op is not None:
            memory = self.policy.memory
            self.greatest = max(self.greatest, memory.total - memory.free)

    def began(self, op):
        """Begin to measure an operation, if it runs alone or learns; the caller has the lock."""
        if self.learner is not None and self.learner.state != _ENDED:
            # However long that runs: those that are known take nothing from it.
            if op.learns != _NOT_KNOWN or self.is_learning():
                return
        self.op = None  # whoever was measured is not alone any more
        policy = self.policy
        clock = self.clock
        memory = policy.memory
        if op.learns == _NOT_KNOWN:
            self.learner = op
            self.learns_s = clock.s
            memory.collect(_GRANT_COLLECT_PAUSE)  # rather than meanwhile
        elif (
            policy.operations.places > 1
            or clock.until_ms(self.deadline_s, self.deadline_ms) > 0
            or not memory.collect(_GRANT_COLLECT_PAUSE)
        ):
            return
        self.op = op
        self.least = self.greatest = memory.used_now()
        self.collections = memory.collections
        ms = memory.collect_in_ms(_PROFILE_PAUSE) + clock.ms
        self.deadline_s = clock.s + ms // 1000
        self.deadline_ms = ms % 1000

    def ended(self, op):
        """Add what an operation took to its name's row, if it is measured; the caller has the lock.

        Unless it was known and another one began meanwhile, or garbage was collected.
        """
        if self.op is not op:
            return
        learns = op is self.learner
        self.op = self.learner = None
        memory = self.policy.memory
        used = memory.used_now()
        row = self.find_row("name", op.name)
        if row is None:  # other names took the last one
            return
        if not learns and (used < self.least or memory.collections != self.collections):
            return
        need = self.rows[row]
        if need is None:
            try:
                need = MemoryNeed()
                need.name = op.name
                need.count = need.typical_bytes = need.worst_bytes = 0
            except MemoryError:  # it is learned another time
                return
            self.rows[row] = need
        grown = max(self.greatest, used) - self.least  # at least 0
        need.count = min(need.count + 1, _MAX_COUNT)
        # The mean of all at first, then each counts a quarter.
        need.typical_bytes += (grown - need.typical_bytes) // min(need.count, 4)
        need.worst_bytes -= max(0, need.worst_bytes - grown) >> _FALL_SHIFT
        need.worst_bytes = max(need.worst_bytes, grown)
        self.mark_dirty(row)
