"""Operations: at most so many at once, each with a priority and a time, and a way to stop them.

With no place free, HIGH and CRITICAL take that of the lowest-priority, most recently begun
operation below HIGH. The victim must stop; its place passes on when it ends or its grace is over.
One that does not stop even then is overdue: it counts no more, but stays in the table until it
ends, or for a minute: then it is abandoned, for nobody may be there any more who would end it.
"""

from micropython import const

from warden.checks import check_int
from warden.errors import Denied, check_text
from warden.policy.deadlines import Rows, check_session, is_weaker
from warden.policy.operation import Operation
from warden.sensors.threads import get_ident
from warden_schema.codec import cut

_GRACE_MS = const(2000)
_ABANDONED_MS = const(60_000)  # so long after it became overdue
_MAX_NAME = const(24)  # bytes of UTF-8; longer ones are cut
_MAX_MEMORY = const(0x3FFFFFFF)
_GRANT_COLLECT_PAUSE = const(20)  # as `leases` has it
_SPARES = const(2)  # operations made ahead, for when there is no memory
_LOW = const(0)  # priorities
_NORMAL = const(1)
_HIGH = const(2)
_CRITICAL = const(3)
_LEARNED = const(-1)  # as memory: what operations of that name needed

# States: ids.OPERATION_STATES, and one that no host sees.
_WAITING = const(0)
_ACTIVE = const(1)
_STOPPING = const(2)  # must stop, in its grace
_OVERDUE = const(3)  # did not stop; its place has passed on
_ADMITTING = const(4)  # has a place; the lease of its memory is being allocated
_ENDED = const(5)
_NEW = const(6)  # has not begun

_NOT_KNOWN = const(2)  # of `learns`
_PREEMPTED = const("preempted")  # why one must stop
_TIMED_OUT = const("timed out")


class Operations(Rows):
    """The table of operations; policy has the leases that grant their memory, and the limits."""

    # --- by the application ---------------------------------------------------------------------

    def new(self, name, priority, timeout_ms, memory, wait_ms, session):
        """Return an operation that has not begun; ValueError or TypeError for bad arguments."""
        # The usual values need no check, nor does the name of the last one: most come again.
        learns = False
        is_new = name is not self.last_name or name is None
        if is_new and (not isinstance(name, str) or not name):
            raise ValueError("an operation has a name")
        if priority is not _NORMAL:
            check_int("priority", priority, _LOW, _CRITICAL)
        if timeout_ms is not None:
            check_int("timeout_ms", timeout_ms, 1, None)
        if memory is not None:
            check_int("memory", memory, _LEARNED, _MAX_MEMORY)
            if memory == _LEARNED:
                memory = None
                learns = True
        if wait_ms:
            check_int("wait_ms", wait_ms, 0, None)
        if session is not None:
            check_session(session)
        try:
            if is_new:
                self.last_name = name = check_text(cut(name, _MAX_NAME))
            op = Operation(self, name)
            if priority is not _NORMAL:
                op.priority = priority
            if timeout_ms is not None:
                op.timeout_ms = timeout_ms
            if memory:
                op.memory = memory
                op.lease = None
            if wait_ms:
                op.wait_ms = wait_ms
            if session is not None:
                op.session = session
        except MemoryError:
            with self.lock:
                op = self.spares.pop() if self.spares else None
            if op is None:
                raise self.policy.events.deny("memory")
            op.name = name if len(name) * 4 <= _MAX_NAME else "?"
            op.priority = priority
            op.timeout_ms = timeout_ms
            op.memory = memory
            op.wait_ms = wait_ms
            op.session = session
        if learns:  # set what it is expected to take; what knows that is loaded at its first use
            try:
                self.policy.load_profile()
            except MemoryError:
                raise self.policy.events.deny("memory")
            self.policy.profile.look_up(op)
        return op

    def renew_spares(self):
        """Make operations for new() to use once where there is no memory for another."""
        while len(self.spares) < _SPARES:
            op = Operation(self, "")
            op.priority = _NORMAL
            op.timeout_ms = op.memory = op.lease = op.session = op.task = None
            op.wait_ms = op.learns = 0
            self.spares.append(op)

    def can_execute(self, priority):
        """Tell whether begin() with this priority would get a place, now or by preemption."""
        if priority is not _NORMAL:
            check_int("priority", priority, _LOW, _CRITICAL)
        policy = self.policy
        if policy.pressure.level and policy.pressure.refuses(priority):
            return False
        if self.places < policy.max_operations and not self.waiting:
            return True
        return not self._must_wait(priority) or self._victim(priority) is not None

    def begin(self, op, task=None):
        """Begin a NEW operation: it is ACTIVE then, or WAITING for a place if it waits or preempts.

        Raises Denied("operations") where there is no place and nothing to wait for,
        Denied("table") where even the waiting ones are too many, and what allocate() raises for
        the memory it needs; then, and after Ctrl-C, it has ended. The caller of a WAITING one turns
        to `poll_admission` until it is not. task: asyncio's, that is cancelled when it must stop.
        """
        if op.state != _NEW:
            raise ValueError("it has begun already")
        try:
            self.clock.advance()
            if task is not None:
                op.task = task
            victim = wait_ms = None
            with self.lock:
                if op.session is not None:
                    op.session.admit_operation(op.memory)
                policy = self.policy
                if policy.pressure.level:
                    policy.pressure.admit(op.priority)
                is_scarce = self.waiting or self.places >= policy.max_operations
                if is_scarce and self._must_wait(op.priority):
                    victim = self._victim(op.priority)
                    wait_ms = op.wait_ms
                    if victim is not None and wait_ms < _GRACE_MS:
                        wait_ms = _GRACE_MS
                    elif wait_ms <= 0:
                        raise self.refuse("operations")
                if None not in self.rows:
                    raise self.refuse("table")
                if op.learns and wait_ms is None and not policy.profile.admit(op):
                    wait_ms = op.wait_ms
                    if wait_ms <= 0:
                        if op.memory and None not in policy.leases.rows:
                            raise policy.leases.refuse("table", None, op.memory)
                        raise self.refuse("memory" if op.memory else "learning", None, op.memory)
                if wait_ms is not None:
                    self.waiting += 1
                    op.state = _WAITING
                    self.add(op, wait_ms)
                else:
                    self.places += 1
                    if op.memory and op.lease is None:
                        op.state = _ADMITTING
                        self.add(op, None)
                    else:
                        self._run(op)
            if victim is not None:
                self.preempt(victim)
            if op.state == _ADMITTING:
                self._admit(op)
            elif op.state == _WAITING:
                self.promote_waiters()
        except MemoryError:
            self.end(op)
            raise self.policy.events.deny("memory")
        except BaseException:
            self.end(op)
            raise
        return op

    def poll_admission(self, op):
        """Return True once a WAITING operation is ACTIVE; raise Denied when its wait is over."""
        if op.state != _ACTIVE:
            self.clock.advance()
            self.run_due()
            if op.learns and not self.policy.memory.collect_in_ms(_GRANT_COLLECT_PAUSE):
                self.promote_waiters()  # a collection may find what it waits for
            if op.state == _ENDED or op.why is not None:
                with self.lock:
                    raise self.refuse("operations")
        return op.state == _ACTIVE

    def until_ms(self, op):
        """Return the milliseconds to the end of its time or its grace; None while it waits."""
        if op.state == _WAITING or op.state == _ADMITTING:
            return None
        return Rows.until_ms(self, op)

    def end(self, op, promote=True, how="ended"):
        """End an operation, whatever its state; return False if it had ended before.

        promote: give its place to one that waits. how: as the event has it.
        """
        with self.lock:
            state = op.state
            op.state = _ENDED
            if not self.remove(op):
                return False
            if state == _WAITING:
                self.waiting -= 1
            elif state != _OVERDUE:
                self.places -= 1
                if op.learns:
                    self.policy.profile.ended(op)
            lease = op.lease
            if lease is not None:
                op.lease = None
            self.clock.advance()
            self.policy.events.add("operation", op.id, how)
        if lease is not None:
            lease.release()
        if promote and self.waiting:
            self.promote_waiters()
        return True

    def preempt(self, op, why=_PREEMPTED):
        """Have an operation stop, for one of higher priority or because it has TIMED_OUT.

        Its place passes on when it does.
        """
        with self.lock:  # its own thread may end it at any moment
            if op.state != _ACTIVE:
                return
            op.why = why
            op.state = _STOPPING
            self.end_in(op.row, _GRACE_MS)
            self.mark_dirty(op.row)
            self.policy.events.add("operation", op.id, why)
            if op.task is not None:
                self.to_cancel = True
        self.cancel()

    # --- by time --------------------------------------------------------------------------------

    def run_due(self):
        """Stop, end or promote operations whose time has come; allocates nothing if none has."""
        self.cancel()
        ended = self.policy.leases.ended
        freed = self.leases_ended != ended  # memory, that somebody may wait for
        self.leases_ended = ended
        for op in self.rows:
            if op is not None and self.is_over(op.row):
                if op.state == _ACTIVE:
                    self.preempt(op, _TIMED_OUT)
                elif op.state == _OVERDUE:
                    self.end(op, False, "abandoned")
                    freed = True
                elif op.state == _STOPPING:
                    freed = True
                    with self.lock:
                        if op.state == _STOPPING:
                            op.state = _OVERDUE
                            self.places -= 1
                            if op.learns:
                                self.policy.profile.ended(op)
                            self.end_in(op.row, _ABANDONED_MS)
                            self.mark_dirty(op.row)
                            self.policy.events.add("operation", op.id, "overdue")
        if freed:
            self.promote_waiters()
        freed = False
        for op in self.rows:  # none of these may get a place now
            if op is not None and op.state == _WAITING and self.is_over(op.row):
                freed = self.end(op, False) or freed
        if freed:
            self.promote_waiters()
        places = waiting = 0  # anew: Ctrl-C may have come between a row and its count
        with self.lock:
            for op in self.rows:
                if op is not None:
                    if op.state == _WAITING:
                        waiting += 1
                    elif op.state == _ENDED:
                        self.remove(op)
                    elif op.state != _OVERDUE:
                        places += 1
            self.places = places
            self.waiting = waiting

    def evaluate(self):
        """Have the next one to promote tried again, once the memory is free that it waits for.

        By what the last collection left: no lease may have ended. Allocates nothing.
        """
        policy = self.policy
        if not self.waiting or self.places >= policy.max_operations:
            return
        op = self._first_waiting()
        if op is None or not op.memory:
            return
        memory = policy.memory
        left = memory.total // 1000 * (1000 - policy.memory_reserve_permille)
        left -= memory.total - memory.free if memory.live is None else memory.live
        left -= policy.leases.outstanding(0)
        if op.memory <= left and (memory.left is None or op.memory <= memory.left):
            self.leases_ended = -1
            self.clock.poll_now = True

    def cancel(self):
        """Cancel the tasks of operations that must stop, in the loop's thread only."""
        if not self.to_cancel or self.policy.agent.load.thread != get_ident():
            return
        self.to_cancel = False
        for op in self.rows:
            if op is not None and op.state == _STOPPING and op.task is not None:
                task = op.task
                op.task = None
                try:
                    task.cancel()
                except RuntimeError:  # it is the one that runs: check() raises in it
                    pass

    # --- places ---------------------------------------------------------------------------------

    def _run(self, op):
        """Make an operation that has its place ACTIVE; the caller has the lock."""
        policy = self.policy
        timeout_ms = op.timeout_ms or policy.operation_timeout_ms
        op.state = _ACTIVE
        if not op.id:  # it has no row yet
            self.add(op, timeout_ms)
        else:
            self.end_in(op.row, timeout_ms)
            self.mark_dirty(op.row)
        if op.learns:
            policy.profile.began(op)
        self.policy.events.add("operation", op.id, "began")

    def _admit(self, op):
        """Make an ADMITTING operation ACTIVE, with the memory it needs, or raise Denied."""
        policy = self.policy
        timeout_ms = op.timeout_ms or policy.operation_timeout_ms
        lease = policy.leases.allocate(
            0, op.memory, op.name, op.priority, timeout_ms, op.session, admitted=True
        )
        with self.lock:
            if op.state == _ADMITTING:
                op.lease = lease
                self._run(op)
                return
        lease.release()  # it has been ended meanwhile

    def promote_waiters(self):
        """Give free places to waiting operations, by priority, then by age."""
        while self.waiting and self.places < self.policy.max_operations:
            op = None
            try:
                with self.lock:
                    op = self._first_waiting()
                    if op is None or self.places >= self.policy.max_operations:
                        return
                    op.state = _ADMITTING
                    self.waiting -= 1
                    self.places += 1
                    if op.learns == _NOT_KNOWN:
                        self.policy.profile.look_up(op)
                    if op.learns and not self.policy.profile.admit(op):
                        return
                    if not op.memory or op.lease is not None:
                        self._run(op)
                if op.state == _ADMITTING:
                    self._admit(op)
            except Denied:
                return
            except MemoryError:
                return
            finally:
                with self.lock:
                    if op is not None and op.state == _ADMITTING:
                        # It waits again, to the end of its wait as it was.
                        op.state = _WAITING
                        self.waiting += 1
                        self.places -= 1
                        self.mark_dirty(op.row)
                        self.schedule()

    def _first_waiting(self):
        """Return the next one to promote: of the highest priority, the one that waits longest."""
        first = None
        for op in self.rows:
            if op is not None and op.state == _WAITING and (first is None or is_weaker(first, op)):
                # Those of which it is not known what they need run one after the other.
                is_known = op.learns < _NOT_KNOWN or op.priority >= _HIGH
                if is_known or not self.policy.profile.is_learning():
                    first = op
        return first

    def _must_wait(self, priority):
        """Tell whether no place is free, or one waits that this priority must not overtake."""
        if self.places >= self.policy.max_operations:
            return True
        first = self._first_waiting() if self.waiting else None
        return first is not None and first.priority >= priority

    def _victim(self, priority):
        """Return the operation to preempt: of the lowest priority below HIGH, the newest.

        None for a priority that preempts nobody, or while a place is free: waiting ones get that.
        """
        victim = None
        if priority >= _HIGH and self.places >= self.policy.max_operations:
            for op in self.rows:
                if op is not None and op.state == _ACTIVE and op.priority < _HIGH:
                    if is_weaker(op, victim):
                        victim = op
        return victim

    def blocks(self, op, wanted):
        """Tell whether an operation blocks another: it has a place that it must leave in time."""
        return op.state == _ACTIVE or op.state == _STOPPING
