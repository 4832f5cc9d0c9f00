"""Operations: at most so many at once, each with a priority and a time, and a way to stop them.

With no place free, HIGH and CRITICAL take that of the lowest-priority, most recently begun
operation below HIGH. The victim must stop; its place passes on when it ends or its grace is over.
One that does not stop even then is overdue: it counts no more, but stays in the table until it
ends.
"""

from array import array

from micropython import const

from warden.errors import Denied, Preempted, TimedOut, deny
from warden.policy.deadlines import MAX_NAME, Row, Rows, ids_of, soonest_ms
from warden_schema.codec import cut

_OPERATION = const(9)
_MAX_OPERATION_ROWS = const(12)  # active, stopping, overdue and waiting ones together
_GRACE_MS = const(2000)
_MAX_MEMORY = const(0x3FFFFFFF)
_WAIT_STEP_MS = const(5)  # between two looks of one that waits
_SPARES = const(2)
LOW, NORMAL, HIGH, CRITICAL = 0, 1, 2, 3  # priorities
LEARNED = -1  # as memory: what operations of that name needed

WAITING = 0
ACTIVE = 1
STOPPING = 2  # must stop, in its grace
OVERDUE = 3  # did not stop; its place has passed on
ADMITTING = 4  # has a place, and its memory is being looked for
ENDED = 5
NEW = 6  # has not begun
_UNTIMED = (WAITING, ADMITTING)
_TIMED = (ACTIVE, STOPPING)


class Operation(Row):
    """A place among the operations; a context manager, and an asynchronous one."""

    # What is usual stands here once. What an operation has of its own is set before another thread
    # can see it: where there is no GIL, an attribute that came later would move the others while
    # that one reads them.
    priority = NORMAL
    timeout_ms = None  # the board's
    memory = None  # bytes that it needs
    wait_ms = 0  # for a place
    lease = None  # of the memory
    task = None  # asyncio's, to be cancelled when it must stop

    def __init__(self, table, name):
        self.table = table
        self.name = name
        self.row = self.id = 0
        self.state = NEW
        self.why = None  # Preempted or TimedOut, once it must stop

    @property
    def permille(self):
        """How far it is."""
        return self.table.permille[self.row]

    @property
    def text(self):
        """How far it is, in a few words."""
        return self.table.texts[self.row]

    @property
    def reason(self):
        """Why it must stop, in a word, or None."""
        if self.why is None:
            return None
        return "preempted" if self.why is Preempted else "timed out"

    @property
    def left_ms(self):
        """The milliseconds to the end of its time or its grace; None while it waits."""
        return None if self.state in _UNTIMED else self.table.left_ms(self.row)

    def check(self):
        """Raise Preempted or TimedOut if this operation must stop; call it now and then."""
        if self.why is not None:
            raise self.why(self.name)

    def progress(self, permille, text=""):
        """Say how far it is, in permille, with a few words."""
        table = self.table
        text = cut(text, MAX_NAME)
        with table.lock:
            if table.rows[self.row] is self:
                table.permille[self.row] = min(1000, max(0, permille))
                table.texts[self.row] = text
                table.mark_dirty(self.row)

    def complete(self):
        """End it, whatever its state; return whether this did."""
        return self.table.end(self)

    def __enter__(self):
        self.table.begin_here(self)
        return self

    def __exit__(self, kind, error, trace):
        self.table.end(self)
        return False

    async def __aenter__(self):
        from asyncio import sleep_ms

        table = self.table
        if self.state == NEW:
            table.begin_task(self)
        try:
            while not table.poll_admission(self):
                await sleep_ms(_WAIT_STEP_MS)
        except BaseException:  # its task may be cancelled while it waits
            table.end(self)
            raise
        return self

    async def __aexit__(self, kind, error, trace):
        self.table.end(self)
        return False


class Operations(Rows):
    """The table of operations.

    agent: waits with its poll(), and knows asyncio's tasks; leases: grant the memory that they
    need; pressure refuses while something is critical; profile learns their memory.
    """

    def __init__(self, agent, lock, events, leases, limits, profile):
        super().__init__(
            agent.clock,
            lock,
            events,
            _OPERATION,
            (
                "id",
                "name",
                "priority",
                "state",
                "permille",
                "text",
                "session",
                "began_s",
                "left_ms",
                "memory",
                "reason",
            ),
            _MAX_OPERATION_ROWS,
        )
        self.permille = array("h", [0] * _MAX_OPERATION_ROWS)
        self.texts = [""] * _MAX_OPERATION_ROWS
        self.places = 0  # that are taken, and
        self.waiting = 0  # so many wait for one
        self.pressure = None
        self._agent = agent
        self._load = agent.load
        self._leases = leases
        self._limits = limits
        self._profile = profile
        self._leases_ended = 0  # when those that wait were looked at last
        self._to_cancel = False  # whether a task is to be cancelled, in the loop's thread
        self._last_name = None
        self._spares = []  # made while there is memory, for when there is none
        self.renew_spares()

    # --- what is asked --------------------------------------------------------------------------

    def new(self, name, priority=NORMAL, timeout_ms=None, memory=None, wait_ms=0, session=None):
        """Return an operation that has not begun; ValueError for what makes no sense."""
        if not isinstance(name, str) or not name:
            raise ValueError("an operation has a name")
        if not isinstance(priority, int) or not LOW <= priority <= CRITICAL:
            raise ValueError("no such priority")
        if timeout_ms is not None and (not isinstance(timeout_ms, int) or timeout_ms <= 0):
            raise ValueError("timeout_ms must be a positive integer")
        if memory is not None and (
            not isinstance(memory, int) or not LEARNED <= memory <= _MAX_MEMORY
        ):
            raise ValueError("memory must be 0 to 2**30 - 1 bytes, LEARNED, or None")
        if not isinstance(wait_ms, int) or wait_ms < 0:
            raise ValueError("wait_ms must not be negative")
        if memory == LEARNED:
            memory = self._profile.expected(name)
        spare = False
        try:
            if name is not self._last_name:  # most are begun again and again
                self._last_name = name = cut(name, MAX_NAME)
            op = Operation(self, name)
        except MemoryError:
            op = self._take_spare()
            op.name = name if len(name) * 4 <= MAX_NAME else "?"
            spare = True
        if spare or priority != NORMAL:
            op.priority = priority
        if spare or timeout_ms is not None:
            op.timeout_ms = timeout_ms
        if spare or wait_ms:
            op.wait_ms = wait_ms
        if spare or session is not None:
            op.session = session
        if spare or memory:
            op.memory = memory
            op.lease = None
        return op

    def _take_spare(self):
        """Return an operation that was made while there was memory; each is used once."""
        with self.lock:
            if self._spares:
                return self._spares.pop()
        self.events.post("denied", None, "memory", None)
        raise deny("memory")

    def renew_spares(self):
        """Make again what _take_spare() gave away, if there is memory."""
        while len(self._spares) < _SPARES:
            op = Operation(self, "")
            op.priority = NORMAL
            op.timeout_ms = op.memory = op.session = op.lease = op.task = None
            op.wait_ms = 0
            self._spares.append(op)

    def spares_missing(self):
        """Tell whether renew_spares() has something to do."""
        return len(self._spares) < _SPARES

    def can_execute(self, priority=NORMAL):
        """Tell whether begin() with this priority would get a place, now or by preemption."""
        if self.pressure.refuses(priority):
            return False
        if self.places < self._limits.max_operations and not self._is_behind(priority):
            return True
        return self._victim(priority) is not None

    def begin(self, op, task=None):
        """Begin a NEW operation: it is ACTIVE then, or WAITING for a place if it waits or preempts.

        Raises Denied("operations") where there is no place and nothing to wait for,
        Denied("table") where even the waiting ones are too many, and what allocate() raises for
        the memory it needs; then, and after Ctrl-C, it has ended. The caller of a WAITING one turns
        to `poll_admission` until it is not. task: asyncio's, that is cancelled when it must stop.
        """
        if op.state != NEW:
            raise ValueError("it has begun already")
        try:
            session = op.session
            if session is not None:
                session.admit_operation(op.memory)
            self.pressure.admit(op.priority)
            self.clock.advance()
            if task is not None:
                op.task = task
            victim = self._enter(op)
            if victim is not None:
                self.stop(victim, Preempted)
            if op.state == ADMITTING:
                self._admit(op)
            elif op.state == WAITING:
                self.promote_waiters()
        except BaseException:
            self.end(op)
            raise
        return op

    def begin_here(self, op):
        """Begin a NEW operation and wait for its place: the loop of an application without asyncio.

        Inside a task of asyncio nothing may wait so: Denied, unless the place is there.
        """
        if op.state == ACTIVE:
            return
        self.begin(op, self._load.current_task())
        try:
            while not self.poll_admission(op):
                if op.task is not None:
                    raise deny("operations", None, _WAIT_STEP_MS)
                self._agent.poll()
                self._agent.board.sleep_ms(_WAIT_STEP_MS)
        except BaseException:
            self.end(op)
            raise

    def begin_task(self, op):
        """Begin a NEW operation for the task of asyncio that calls; it then polls its admission."""
        self.begin(op, self._load.current_task())

    def poll_admission(self, op):
        """Bring a WAITING operation on; True once it is ACTIVE, Denied when its wait is over."""
        if op.state == ACTIVE:
            return True
        self.clock.advance()
        self.run_due()
        if op.state == ACTIVE:
            return True
        if op.state == ENDED or op.why is not None:
            raise self._denied("operations")
        return False

    def end(self, op, promote=True):
        """End an operation, whatever its state; return whether this did.

        promote: give its place to who waits for one.
        """
        with self.lock:
            state = op.state
            op.state = ENDED
            if not self.remove(op):
                return False
            if state == WAITING:
                self.waiting -= 1
            elif state != OVERDUE:
                self.places -= 1
                if state != ADMITTING:
                    self._profile.ended(op)
            lease = op.lease
            if lease is not None:
                op.lease = None
            self.events.post("operation", op.id, op.reason or "completed")
        if lease is not None:
            lease.release()
        if promote and self.waiting:
            self.promote_waiters()
        return True

    def stop(self, op, why):
        """Have an operation stop: Preempted or TimedOut. Its place passes on when it does."""
        with self.lock:  # its own thread may end it at any moment
            if op.state != ACTIVE:
                return
            op.why = why
            op.state = STOPPING
            self.end_in(op.row, _GRACE_MS)
            self.mark_dirty(op.row)
            self.events.post("operation", op.id, op.reason)
            if op.task is not None:
                self._to_cancel = True
        self._cancel_tasks()

    # --- by time --------------------------------------------------------------------------------

    def needs_run(self):
        """Tell whether run_due() has something to do although no time is over."""
        return self._to_cancel or (self.waiting and self._leases_ended != self._leases.ended)

    def run_due(self):
        """Do what time brings; allocates nothing where it brings nothing."""
        self._cancel_tasks()
        freed = self._leases_ended != self._leases.ended  # memory, that somebody may wait for
        self._leases_ended = self._leases.ended
        for op in self.rows:
            if op is not None and op.state in _TIMED and self.is_over(op.row):
                if op.state == ACTIVE:
                    self.stop(op, TimedOut)
                else:
                    self._make_overdue(op)
                    freed = True
        if freed:
            self.promote_waiters()
        ended = False
        for op in self.rows:  # none of these may get a place now
            if op is not None and op.state == WAITING and self.is_over(op.row):
                ended = self.end(op, False)
        if ended:
            self.promote_waiters()

    def _make_overdue(self, op):
        with self.lock:
            if op.state == STOPPING:
                op.state = OVERDUE
                self.places -= 1
                self._profile.ended(op)
                self.end_in(op.row, None)
                self.mark_dirty(op.row)
                self.events.post("operation", op.id, "overdue")

    def _cancel_tasks(self):
        """Cancel the tasks of operations that must stop, in the loop's thread only."""
        if not self._to_cancel or not self._load.in_loop():
            return
        self._to_cancel = False
        for op in self.rows:
            if op is not None and op.state == STOPPING and op.task is not None:
                task = op.task
                op.task = None
                try:
                    task.cancel()
                except RuntimeError:  # it is the one that runs: check() raises in it
                    pass

    # --- places ---------------------------------------------------------------------------------

    def _enter(self, op):
        """Give an operation a row; return whom it preempts."""
        victim = None
        wait_ms = op.wait_ms
        with self.lock:
            row = self.free_row()
            has_place = self.places < self._limits.max_operations
            if not has_place or (self.waiting and self._is_behind(op.priority)):
                has_place = False
                victim = self._victim(op.priority)
                if victim is not None and wait_ms < _GRACE_MS:
                    wait_ms = _GRACE_MS
                elif wait_ms <= 0:
                    raise self._denied("operations")
            if row < 0:
                raise self._denied("table")
            session = op.session
            if session is not None and not session.is_open():
                raise session.refuse("session", None, None)
            self.permille[row] = 0
            self.texts[row] = ""
            if not has_place:
                op.state = WAITING
                self.waiting += 1
                self.add(op, row, wait_ms)
            else:
                self.places += 1
                op.state = ADMITTING
                self.add(op, row, None)
                if not op.memory:
                    self._run(op)
        return victim

    def _run(self, op):
        """Make an operation that has its place ACTIVE; with the lock held."""
        op.state = ACTIVE
        self.end_in(op.row, op.timeout_ms or self._limits.operation_timeout_ms)
        self.mark_dirty(op.row)
        self._profile.began(op)

    def _admit(self, op):
        """Make an ADMITTING operation ACTIVE, with the memory it needs, or raise Denied."""
        lease = None
        if op.memory:
            ttl_ms = op.timeout_ms or self._limits.operation_timeout_ms  # as `_run` has it
            lease = self._leases.allocate(
                0, op.memory, op.name, op.priority, ttl_ms, op.session, admitted=True
            )
        with self.lock:
            if op.state == ADMITTING:
                op.lease = lease
                lease = None
                self._run(op)
        if lease is not None:  # it has been ended meanwhile
            lease.release()

    def promote_waiters(self):
        """Give free places to those that wait, the first in turn first."""
        while self.waiting and self.places < self._limits.max_operations:
            with self.lock:
                op = self._first_waiting()
                if op is None or self.places >= self._limits.max_operations:
                    return
                op.state = ADMITTING
                self.waiting -= 1
                self.places += 1
                if not op.memory:
                    self._run(op)
                    continue
            try:
                self._admit(op)
            except (Denied, MemoryError):
                return
            finally:
                self._wait_on(op)

    def _wait_on(self, op):
        """Have one that is still ADMITTING wait again, to the end of its wait as it was."""
        with self.lock:
            if op.state == ADMITTING:
                op.state = WAITING
                self.waiting += 1
                self.places -= 1
                self.mark_dirty(op.row)
                self.schedule()

    def _first_waiting(self):
        """Return who is next: of the highest priority, the one that waits longest."""
        first = None
        for op in self.rows:
            if op is not None and op.state == WAITING:
                if (
                    first is None
                    or op.priority > first.priority
                    or (op.priority == first.priority and op.id < first.id)
                ):
                    first = op
        return first

    def _is_behind(self, priority):
        """Tell whether somebody waits whom a newcomer of this priority must not overtake."""
        first = self._first_waiting() if self.waiting else None
        return first is not None and first.priority >= priority

    def _victim(self, priority):
        """Return whom to preempt: of the lowest priority below HIGH, the one begun last.

        None for a priority that preempts nobody, or while a place is free: that goes by turn.
        """
        victim = None
        if priority >= HIGH and self.places >= self._limits.max_operations:
            for op in self.rows:
                if op is not None and op.state == ACTIVE and op.priority < HIGH:
                    if (
                        victim is None
                        or op.priority < victim.priority
                        or (op.priority == victim.priority and op.id > victim.id)
                    ):
                        victim = op
        return victim

    def _denied(self, reason):
        """Return the refusal: who has the places, or stands in the table, and until when."""
        self.events.post("denied", None, reason, None)
        try:
            blockers = [op for op in self.rows if op is not None]
            timed = [op for op in blockers if op.state == ACTIVE or op.state == STOPPING]
        except MemoryError:
            return deny(reason)
        return deny(
            reason,
            None,
            soonest_ms(timed),
            ids_of(blockers if reason == "table" else timed),
        )
