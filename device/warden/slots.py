"""Operations: at most so many at once, each with a priority and a time, and a way to stop them.

With no place free, HIGH and CRITICAL take that of the lowest-priority, most recently begun
operation below HIGH. The victim is told; its place passes on when it ends or its grace is over. One
that does not stop even then is overdue: it counts no more, but stays in the table until it ends.
"""

from micropython import const

from warden.errors import Denied, Preempted, TimedOut
from warden.timed import FREE, NEVER, Timed, end_in, soonest_ms
from warden_schema import codec
from warden_schema.loops import begin_operation, enter, take_out
from warden_schema.loops import complete as _complete
from warden_schema.loops import start as _start

_ROWS = const(12)  # active, stopping, overdue and waiting ones together
_MAX_OPERATIONS = const(8)
_GRACE_MS = const(2000)
_MAX_NAME = const(24)
_SHORT_NAME = const(6)  # of so many characters none takes more than that
_NORMAL = const(1)
_HIGH = const(2)
_CRITICAL = const(3)
_WORD = const(0x3FFFFFFF)
_MAX_MEMORY = const(0x3FFFFFFF)

WAITING = const(0)
ACTIVE = const(1)
STOPPING = const(2)  # told to stop, in its grace
OVERDUE = const(3)  # did not stop; its place has passed on
ADMITTING = const(4)  # has a place, and its memory is being looked for
ENDED = const(5)


_HAS_PLACE = const(b"\x00\x01\x01\x00\x01\x00")  # by state
_UNTOLD = (0, "")  # how far an operation is, in permille, and a few words: by itself


class Operation:
    """A place among the operations; a context manager, and an asynchronous one.

    When it ends in time, or its grace or its wait does, the table has: `desk.left_ms(row)`.
    """

    # What an operation has of its own is made here, before another thread can see it: where there
    # is no GIL, an attribute that came later would move the others while that one reads them.
    session = None
    priority = _NORMAL
    lease = None  # of the memory it needs
    memory = None  # bytes of it
    task = None  # asyncio's, to be cancelled when it must stop
    timeout_ms = None  # once it has its place, while it has none

    def __init__(self, desk, row, op_id, name, state):
        self.id = op_id
        self.name = name
        self.state = state
        self.why = None  # Preempted or TimedOut, once it must stop
        self.row = row  # in the table, while it is there
        self.desk = desk

    def check(self):
        """Raise Preempted or TimedOut if this operation must stop; call it now and then."""
        if self.why is not None:
            raise self.why(self.name)

    def progress(self, permille, text=""):
        """Tell how far it is, in permille, with a few words."""
        self.desk.progress(self, min(1000, max(0, permille)), codec.cut(text, _MAX_NAME))

    def told_why(self):
        """Return why it must stop, in a word, or None."""
        if self.why is None:
            return None
        return "preempted" if self.why is Preempted else "timed out"

    complete = _complete

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


def _run(desk, op, timeout_ms):
    """Let an operation that has its place begin; with the lock held."""
    begin_operation(desk, op, min(timeout_ms, _WORD))
    if timeout_ms > _WORD:
        end_in(desk, op.row, timeout_ms)


class Operations(Timed):
    """The table of operations. ledger grants memory, events are told, needs learns.

    lock: the one of `events`, which are told with it held.
    """

    def __init__(self, clock, lock, ledger, events, max_operations, timeout_ms, in_loop, needs):
        super().__init__(clock, lock, _ROWS)
        self.max_operations = max_operations
        self.set_timeout(timeout_ms)
        self.told = [_UNTOLD] * _ROWS
        self.untold = _UNTOLD
        self.operation = Operation
        self.start = self.start  # a method that is found in the instance is found sooner
        self.ledger = ledger
        self._events = events
        self.put = events.put
        self.learn_began = needs.began  # told of each that has its place,
        self.learn_ended = needs.ended  # and that it ended
        self.more = bytearray(_ROWS)  # whether it has a task or memory
        self._in_loop = in_loop  # whether the caller may touch asyncio: it is the loop's thread
        self.places = 0  # that are taken, and
        self.waiting = 0  # so many wait for one: counted with each change of a state
        self._leases_ended = 0  # when those that wait were last looked at
        self._uncancelled = False  # whether a task is to be cancelled, in the loop's thread
        self.last_name = None  # the last that was looked at: most are begun again and again

    # --- what is asked --------------------------------------------------------------------------

    start = _start

    def set_timeout(self, timeout_ms):
        """Set the time of those that name none."""
        self.timeout_ms = timeout_ms
        self.word_ms = timeout_ms if timeout_ms <= _WORD else 0  # 0: not for start()

    def set_limit(self, max_operations):
        """Allow so many at once, 1 to 8; those that run go on."""
        if not 1 <= max_operations <= _MAX_OPERATIONS:
            raise ValueError("max_operations must be 1 to 8")
        self.max_operations = max_operations
        self.pass_on()

    def can_execute(self, priority=1):
        """Tell whether begin() with this priority would get a place, now or by preemption."""
        if self.places < self.max_operations and not self._ahead_of(priority):
            return True
        return self._victim(priority) is not None

    def begin(
        self, name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None, task=None
    ):
        """Return a new operation: ACTIVE, or WAITING for a place if it waits or preempts.

        Raises Denied("operations") where there is no place and nothing to wait for,
        Denied("table") where even the waiting ones are too many, and what allocate() raises for
        the memory it needs. The caller of a WAITING one turns to `settle` until it is not.
        task: asyncio's, that is cancelled when it must stop.
        """
        if name is not self.last_name:
            name = self._named(name)
        if timeout_ms is None and priority == _NORMAL and not memory and not wait_ms:
            priority = _NORMAL  # whatever type it is of
            timeout_ms = self.timeout_ms
        else:
            timeout_ms = self._checked(priority, timeout_ms, memory, wait_ms)
        self.clock.advance()
        victim = None
        self.acquire(1)
        try:
            free = self.places < self.max_operations
            if not free or (self.waiting and self._ahead_of(priority)):
                free = False
                victim = self._victim(priority)
                if victim is not None and wait_ms < _GRACE_MS:
                    wait_ms = _GRACE_MS
                elif wait_ms <= 0:
                    self._deny(False)
            row = self.free.find(FREE)
            if row < 0:
                self._deny(True)
            state = ACTIVE if free and not memory else WAITING
            op = Operation(self, row, self.next_id, name, state)
            if priority != _NORMAL:
                op.priority = priority
            if session is not None:
                op.session = session
            if task is not None or memory:
                op.task = task
                op.lease = None
                op.memory = memory
                self.more[row] = 1
            if state != ACTIVE:
                op.timeout_ms = timeout_ms
            enter(self, op)  # from here on others see it
            if state == ACTIVE:
                self.places += 1
                _run(self, op, timeout_ms)
            else:
                self._line_up(op, row, free, wait_ms)
        finally:
            self.release()
        if victim is not None:
            self.stop(victim, Preempted)
        if not free:
            self.pass_on()
        elif memory:
            try:
                self._admit(op)
            except BaseException:  # Denied, or Ctrl-C, or no memory for the lease itself
                self.end(op)
                raise
        return op

    def left_of(self, op):
        """Return the milliseconds to the end of its time or its grace, None if it has none."""
        return None if op.state in (WAITING, ADMITTING) else self.left_ms(op.row)

    def progress(self, op, permille, text):
        """Note how far an operation is, in permille and a few words."""
        self.acquire(1)
        try:
            if self.table[op.row] is op:
                self.told[op.row] = (permille, text)
                self.changed(op.row)
        finally:
            self.release()

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
            self.acquire(1)
            try:
                self._deny(False)
            finally:
                self.release()
        return False

    def end(self, op, pass_on=True):
        """End an operation, whatever its state; return whether this did.

        pass_on: give its place to who waits for one.
        """
        self.clock.advance()
        self.acquire(1)
        try:
            lease = take_out(self, op)
        finally:
            self.release()
        if lease is op:
            return False
        if lease is not None:
            lease.release()
        if pass_on and self.waiting:
            self.pass_on()
        return True

    def stop(self, op, why):
        """Tell an operation to stop: Preempted or TimedOut. Its place passes on when it does."""
        self.acquire(1)
        try:  # its own thread may end it at any moment
            if op.state != ACTIVE:
                return
            op.why = why
            end_in(self, op.row, _GRACE_MS)
            op.state = STOPPING
            self.changed(op.row)
            self.put("operation", op.id, op.told_why(), None)
        finally:
            self.release()
        self._cancel_task(op)

    def tick(self):
        """Do what time brings; allocates nothing where it brings nothing."""
        ended = self.ledger.ended
        freed = ended != self._leases_ended  # memory, that somebody may wait for
        self._leases_ended = ended
        if self._uncancelled:
            self._cancel_tasks()
        over = self.over()
        if over and self._each(over, self._time_out):
            freed = True
        if freed:
            self.pass_on()
        # Those that got no place in time; none of them may get it now.
        if over and self._each(over, self._give_up):
            self.pass_on()

    def _cancel_tasks(self):
        self._uncancelled = False
        for op in self.table:
            if op is not None and op.state == STOPPING:
                self._cancel_task(op)

    def _each(self, rows, function):
        """Call a function of these rows, a bit for each; return whether it freed a place."""
        freed = False
        for op in self.table:
            if rows & 1 and op is not None and function(op):
                freed = True
            rows >>= 1
        return freed

    def _time_out(self, op):
        """Stop one whose time is over; return whether its place is free because its grace is."""
        if op.state == ACTIVE and self.is_over(op.row):
            self.stop(op, TimedOut)
        elif op.state == STOPPING:
            self.acquire(1)
            try:
                if op.state == STOPPING and self.is_over(op.row):
                    self.due[op.row] = NEVER
                    self._set(op, OVERDUE)
                    self.put("operation", op.id, "overdue", None)
                    return True
            finally:
                self.release()
        return False

    def _give_up(self, op):
        """End one that waited long enough, with or without what it had in turn."""
        self.acquire(1)
        try:
            if op.state != WAITING or not self.is_over(op.row):
                return False
            take_out(self, op)  # what waits has no lease
            return True
        finally:
            self.release()

    def _cancel_task(self, op):
        """Cancel the task of an operation that must stop, once, and in the loop's thread only."""
        task = op.task
        if task is None:
            return
        if not self._in_loop():
            self._uncancelled = True
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
        return self.waiting > 0 and self._first_waiting().priority >= priority

    def _victim(self, priority):
        """Return whom to preempt: of the lowest priority below HIGH, the one begun last.

        None for a priority that preempts nobody, or while a place is free: that goes by turn.
        """
        if priority < _HIGH or self.places < self.max_operations:
            return None
        found = None
        for op in self.table:
            if op is not None and op.state == ACTIVE and op.priority < _HIGH:
                if found is None or (op.priority, -op.id) < (found.priority, -found.id):
                    found = op
        return found

    # With the lock held, these three.

    def _line_up(self, op, row, free, wait_ms):
        """Have a new operation wait for a place, or, with one, for its memory."""
        self.count_waiting(1)
        if free:
            self._set(op, ADMITTING)
        else:
            end_in(self, row, wait_ms)
            self.changed(row)

    def count_waiting(self, step):
        self.waiting += step
        self.ledger.awaited = self.waiting > 0

    def _set(self, op, state):
        """Change an operation's state."""
        before = op.state
        self.places += _HAS_PLACE[state] - _HAS_PLACE[before]
        waiting = (state == WAITING) - (before == WAITING)
        if waiting:
            self.count_waiting(waiting)
        op.state = state
        self.changed(op.row)

    def pass_on(self):
        """Give free places to those that wait, the first in turn first."""
        while True:
            self.acquire(1)
            try:
                if not self.waiting or self.places >= self.max_operations:
                    return
                op = self._first_waiting()
                self._set(op, ADMITTING)
            finally:
                self.release()
            try:
                self._admit(op)
            except Denied:  # of its memory
                return
            finally:  # else it waits on, and keeps its turn
                self._wait_on(op)

    def _admit(self, op):
        """Make an ADMITTING operation ACTIVE, with the memory it needs, or raise Denied."""
        lease = None
        if op.memory:
            lease = self.ledger.allocate(
                0, op.memory, op.name, op.priority, op.timeout_ms, op.session
            )
        self.acquire(1)
        try:
            if op.state == ADMITTING:
                if lease is not None:
                    op.lease = lease
                    lease = None
                op.state = ACTIVE
                _run(self, op, op.timeout_ms)
        finally:
            self.release()
            if lease is not None:  # it has been ended meanwhile
                lease.release()

    def _wait_on(self, op):
        """Have one that is still ADMITTING wait again, to the end of its wait as it was."""
        self.acquire(1)
        try:
            if op.state == ADMITTING:
                self._set(op, WAITING)
                self.clock.now()  # its wait may have ended meanwhile
        finally:
            self.release()

    # --- refusing -------------------------------------------------------------------------------

    def _named(self, name):
        """Return a name as it is kept, and remember it if it is so already."""
        if not isinstance(name, str) or not name:
            raise ValueError("an operation has a name")
        cut = name if len(name) <= _SHORT_NAME else codec.cut(name, _MAX_NAME)
        if cut == name:
            self.last_name = name
        return cut

    def _checked(self, priority, timeout_ms, memory, wait_ms):
        """Return the timeout_ms that holds; ValueError for what makes no sense."""
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
        """Raise Denied; with the lock held."""
        blockers = []
        timed = []
        for op in self.table:
            if op is not None:
                state = op.state
                if state == ACTIVE or state == STOPPING:
                    timed.append(op)
                elif not table_full:
                    continue
                blockers.append(op.id)
        reason = "table" if table_full else "operations"
        self.put("denied", None, reason, None)
        raise Denied(reason, None, soonest_ms(self, timed), tuple(blockers))
