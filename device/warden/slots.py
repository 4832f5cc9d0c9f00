"""Operations: at most so many at once, each with a priority and a time, and a way to stop them.

With no place free, HIGH and CRITICAL take that of the lowest-priority, most recently begun
operation below HIGH. The victim is told; its place passes on when it ends or its grace is over. One
that does not stop even then is overdue: it counts no more, but stays in the table until it ends.
"""

from micropython import const

from warden_schema import codec

from .deadline import Deadline
from .errors import Denied, Preempted, TimedOut

_ROWS = const(12)  # active, stopping, overdue and waiting ones together
_MAX_OPERATIONS = const(8)
_GRACE_MS = const(2000)
_MAX_NAME = const(24)
_HIGH = const(2)
_CRITICAL = const(3)
_MAX_ID = const(0x3FFFFFFF)
_MAX_MEMORY = const(0x3FFFFFFF)

WAITING = const(0)
ACTIVE = const(1)
STOPPING = const(2)  # told to stop, in its grace
OVERDUE = const(3)  # did not stop; its place has passed on
ADMITTING = const(4)  # has a place, and its memory is being looked for
ENDED = const(5)


_HAS_PLACE = b"\x00\x01\x01\x00\x01\x00"  # by state


def _nobody(row):
    """Stand for who wants to know of changes."""


class Operation:
    """A place among the operations; a context manager, and an asynchronous one."""

    # All attributes are made here: where there is no GIL, one that came later would move the others
    # while another thread reads them.
    def __init__(self, desk, op_id, name, priority, timeout_ms, session):
        self.id = op_id
        self.name = name
        self.priority = priority
        self.session = session
        self.state = WAITING
        self.permille = 0
        self.text = ""
        self.lease = None  # of the memory it needs
        self.memory = None  # bytes of it
        self.task = None  # asyncio's, to be cancelled when it must stop
        self.why = None  # Preempted or TimedOut, once it must stop
        self.began_s = 0
        self.deadline = None  # of its time, or of its grace when it is stopping
        self.wait = None  # a Deadline: how long it waits for a place, None: it has one
        self.row = None  # in the table, while it is there
        self.timeout_ms = timeout_ms
        self._desk = desk

    def check(self):
        """Raise Preempted or TimedOut if this operation must stop; call it now and then."""
        if self.why is not None:
            raise self.why(self.name)

    def progress(self, permille, text=""):
        """Tell how far it is, in permille, with a few words."""
        self.permille = min(1000, max(0, permille))
        self.text = codec.cut(text, _MAX_NAME)
        self._desk.touch(self)

    def told_why(self):
        """Return why it must stop, in a word, or None."""
        if self.why is None:
            return None
        return "preempted" if self.why is Preempted else "timed out"

    def complete(self):
        """End it; harmless if it has ended already."""
        self._desk.end(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.complete()
        return False

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, trace):
        self.complete()
        return False


class Operations:
    """The table of operations. ledger grants memory, post tells what happens, needs learns."""

    def __init__(self, clock, lock, ledger, post, max_operations, timeout_ms, in_loop, needs):
        self.clock = clock
        self.max_operations = max_operations
        self.timeout_ms = timeout_ms
        self._lock = lock
        self._ledger = ledger
        self._post = post
        self._needs = needs  # told of each that has its place, and that it ended
        self._in_loop = in_loop  # whether the caller may touch asyncio: it is the loop's thread
        self.table = [None] * _ROWS
        self.changed = _nobody  # function of a row that changed, None for one that is free now
        self._places = 0  # that are taken, and
        self._waiting = 0  # so many wait for one: counted with each change of a state
        self._next_id = 1
        self._leases_ended = 0  # when those that wait were last looked at

    # --- what is asked --------------------------------------------------------------------------

    def all(self):
        """Return the operations that have not ended, oldest first."""
        return sorted([op for op in self.table if op], key=lambda op: op.id)

    def find(self, op_id):
        """Return the operation of that id; KeyError if it has ended or never was."""
        for op in self.table:
            if op is not None and op.id == op_id:
                return op
        raise KeyError(op_id)

    def set_limit(self, max_operations):
        """Allow so many at once, 1 to 8; those that run go on."""
        if not 1 <= max_operations <= _MAX_OPERATIONS:
            raise ValueError("max_operations must be 1 to 8")
        self.max_operations = max_operations
        self.pass_on()

    def can_execute(self, priority=1):
        """Tell whether begin() with this priority would get a place, now or by preemption."""
        if self._places < self.max_operations and not self._ahead_of(priority):
            return True
        return self._victim(priority) is not None

    def begin(self, name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
        """Return a new operation: ACTIVE, or WAITING for a place if it waits or preempts.

        Raises Denied("operations") where there is no place and nothing to wait for,
        Denied("table") where even the waiting ones are too many, and what allocate() raises for
        the memory it needs. The caller of a WAITING one turns to `settle` until it is not.
        """
        timeout_ms = self._checked(name, priority, timeout_ms, memory, wait_ms)
        self.clock.advance()
        self._lock.acquire(1)
        try:
            free = self._places < self.max_operations and not self._ahead_of(priority)
            victim = None if free else self._victim(priority)
            if victim is not None:
                wait_ms = max(wait_ms, _GRACE_MS)
            op = None
            if free or wait_ms > 0:
                op = Operation(
                    self, self._next_id, codec.cut(name, _MAX_NAME), priority, timeout_ms, session
                )
                if memory:
                    op.memory = memory
                if not free:
                    op.wait = Deadline(self.clock, wait_ms)
                if not self._enter(op, ADMITTING if free else WAITING):
                    op = victim = None
        finally:
            self._lock.release()
        if op is None:
            self._deny(free or wait_ms > 0)
        if victim is not None:
            self.stop(victim, Preempted)
        if free:
            try:
                self._admit(op)
            except BaseException:  # Denied, or Ctrl-C, or no memory for the lease itself
                self.end(op)
                raise
        else:
            self.pass_on()
        return op

    def settle(self, op):
        """Bring a WAITING operation on; True once it is ACTIVE, Denied when its wait is over.

        Denied also if its place was taken again before its caller came to look.
        """
        if op.state == ACTIVE:
            return True
        self.tick()
        if op.state == ACTIVE:
            return True
        if op.state == ENDED or op.why is not None:
            self._deny(False)
        return False

    def end(self, op, pass_on=True):
        """End an operation, whatever its state; return whether this did.

        pass_on: give its place to who waits for one.
        """
        state = self._leave(op)
        if state == ENDED:
            return False
        if state != WAITING and state != ADMITTING:
            self._needs.ended(op)
        self._post("operation", op.id, "ended")
        if pass_on:
            self.pass_on()
        return True

    def stop(self, op, why):
        """Tell an operation to stop: Preempted or TimedOut. Its place passes on when it does."""
        self._lock.acquire(1)
        try:  # its own thread may end it at any moment
            if op.state != ACTIVE:
                return
            op.why = why
            op.deadline = Deadline(self.clock, _GRACE_MS)
            op.state = STOPPING
        finally:
            self._lock.release()
        self.touch(op)
        self._post("operation", op.id, op.told_why())
        self._cancel_task(op)

    def tick(self):
        """Do what time brings; allocates nothing where it brings nothing."""
        ended = self._ledger.ended
        freed = ended != self._leases_ended  # memory, that somebody may wait for
        self._leases_ended = ended
        row = 0
        while row < _ROWS:
            op = self.table[row]
            if op is not None and op.state == STOPPING and op.task is not None:
                self._cancel_task(op)
            deadline = op.deadline if op is not None else None
            if deadline is not None and deadline.passed():
                if op.state == ACTIVE:
                    self.stop(op, TimedOut)
                elif op.state == STOPPING:
                    op.deadline = None
                    if self._move(op, STOPPING, OVERDUE):
                        self._post("operation", op.id, "overdue")
                        freed = True
            row += 1
        if freed:
            self.pass_on()
        freed = False  # a turn, that memory was lacking for
        for op in self.table:  # those that got no place in time; none of them may get it now
            if op is not None and op.state == WAITING and op.wait.passed():
                if self._leave(op, WAITING) == WAITING:
                    self._post("operation", op.id, "ended")
                    freed = True
        if freed:
            self.pass_on()

    def _cancel_task(self, op):
        """Cancel the task of an operation that must stop, once, and in the loop's thread only."""
        task = op.task
        if task is None:
            return
        if not self._in_loop():
            self.clock.now()  # again, in the loop's thread
        else:
            op.task = None
            try:
                task.cancel()
            except RuntimeError:  # it is the one that runs: check() tells it
                pass

    # --- places ---------------------------------------------------------------------------------

    def _first_waiting(self):
        """Return who is next: of the highest priority, the one that waits longest."""
        found = None
        for op in self.table:
            if op is not None and op.state == WAITING:
                if found is None or (-op.priority, op.id) < (-found.priority, found.id):
                    found = op
        return found

    def _ahead_of(self, priority):
        """Tell whether somebody waits whom a newcomer of this priority must not overtake."""
        return self._waiting > 0 and self._first_waiting().priority >= priority

    def _victim(self, priority):
        """Return whom to preempt: of the lowest priority below HIGH, the one begun last.

        None for a priority that preempts nobody, or while a place is free: that goes by turn.
        """
        if priority < _HIGH or self._places < self.max_operations:
            return None
        found = None
        for op in self.table:
            if op is not None and op.state == ACTIVE and op.priority < _HIGH:
                if found is None or (op.priority, -op.id) < (found.priority, -found.id):
                    found = op
        return found

    def _set(self, op, state):
        """Change an operation's state; with the lock held."""
        before = op.state
        self._places += _HAS_PLACE[state] - _HAS_PLACE[before]
        if before == WAITING:
            self._waiting -= 1
        if state == WAITING:
            self._waiting += 1
        op.state = state

    def _enter(self, op, state):
        """Put a new operation into the table; return whether that had room."""
        for row in range(_ROWS):
            if self.table[row] is None:
                self._next_id = self._next_id % _MAX_ID + 1
                op.row = row
                self._waiting += 1  # as which it comes
                self._set(op, state)
                self.table[row] = op
                if op.wait is not None:
                    op.wait.passed()  # is looked at in time, now that it can be found
                self.changed(row)
                return True
        return False

    def _leave(self, op, only=None):
        """Take an operation out of the table; return the state it had.

        ENDED where it had ended before, or is not in the state `only`.
        """
        self._lock.acquire(1)
        try:
            state = op.state
            if state == ENDED or (only is not None and state != only):
                return ENDED
            self._set(op, ENDED)
            self.table[op.row] = None
            lease = op.lease
            if lease is not None:
                op.lease = None
            if op.task is not None:
                op.task = None
        finally:
            self._lock.release()
        self.changed(None)
        if lease is not None:
            lease.release()
        return state

    def pass_on(self):
        """Give free places to those that wait, the first in turn first."""
        while True:
            self._lock.acquire(1)
            try:
                if not self._waiting or self._places >= self.max_operations:
                    return
                op = self._first_waiting()
                self._set(op, ADMITTING)
            finally:
                self._lock.release()
            try:
                self._admit(op)
            except Denied:  # of its memory
                return
            finally:  # else it waits on, and keeps its turn
                self._move(op, ADMITTING, WAITING)

    def _admit(self, op):
        """Make an ADMITTING operation ACTIVE, with the memory it needs, or raise Denied."""
        deadline = Deadline(self.clock, op.timeout_ms)  # before the lease: memory may run out
        lease = None
        if op.memory:
            lease = self._ledger.allocate(
                0, op.memory, op.name, op.priority, op.timeout_ms, op.session
            )
            op.lease = lease
        op.began_s = self.clock.s
        op.deadline = deadline
        if self._move(op, ADMITTING, ACTIVE):
            self._needs.began(op)
            self._post("operation", op.id, "began")
        elif lease is not None:  # it has been ended meanwhile
            lease.release()

    def _move(self, op, old, new):
        """Change an operation's state if it is still the old one; return whether it was."""
        self._lock.acquire(1)
        try:
            if op.state != old:
                return False
            self._set(op, new)
        finally:
            self._lock.release()
        self.touch(op)
        return True

    def touch(self, op):
        """Have whoever wants to know told that an operation changed."""
        if self.table[op.row] is op:
            self.changed(op.row)

    # --- refusing -------------------------------------------------------------------------------

    def _checked(self, name, priority, timeout_ms, memory, wait_ms):
        if not isinstance(name, str) or not name:
            raise ValueError("an operation has a name")
        if not isinstance(priority, int) or not 0 <= priority <= _CRITICAL:
            raise ValueError("no such priority")
        if timeout_ms is None:
            timeout_ms = self.timeout_ms
        if not isinstance(timeout_ms, int) or timeout_ms <= 0:
            raise ValueError("timeout_ms must be a positive integer")
        if memory is not None and (not isinstance(memory, int) or not 0 <= memory <= _MAX_MEMORY):
            raise ValueError("memory must be 0 to 2**30 - 1 bytes, or None")
        if not isinstance(wait_ms, int) or wait_ms < 0:
            raise ValueError("wait_ms must not be negative")
        return timeout_ms

    def _deny(self, table_full):
        blockers = []
        soonest = None
        for op in self.table:
            if op is not None and (table_full or op.state == ACTIVE or op.state == STOPPING):
                blockers.append(op.id)
                deadline = op.deadline  # another thread may take it away
                left = deadline.left_ms() if deadline else None
                if left is not None and (soonest is None or left < soonest):
                    soonest = left
        reason = "table" if table_full else "operations"
        self._post("denied", None, reason)
        raise Denied(reason, None, soonest, tuple(blockers))
