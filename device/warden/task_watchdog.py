"""The watchdog: finds out that the application hangs, and acts.

Loaded when the application calls `warden.watchdog()` or `warden.checkin()`, which
`watchdog_setup` has. A turn is a step of the agent's task in the event loop, or a call of
`warden.poll()`; one that a machine.Timer makes is none. A ticker, a machine.Timer or where the port
has none a thread, looks whether there are turns; without either, that is found out at the next
turn. Who has to check in, and the hardware watchdog, are in `duties`.
"""

from micropython import const

from warden.sensors.threads import get_ident
from warden_schema.codec import cut

_MAX_CULPRIT = const(32)
_BLOCKED_MS = const(1000)  # the time of a longer turn is nobody's who has to check in
_ACTIVE = const(1)  # states of an operation
_STOPPING = const(2)
_BEGUN = const(0)  # of ids.HANG_STEPS
_OVER = const(1)


class TaskWatchdog:
    """Watches turns; the one of this board is `Crashes.watchdog`.

    Made by `watchdog_setup.make_watchdog`, which lists what it has. It takes the place of some
    methods of the agent, its Runner and its operations, which it calls by their classes.
    """

    # --- setting up -----------------------------------------------------------------------------

    def begin(self):
        """Begin to watch; what was before does not count."""
        self.last_ms = self.ticks_ms()  # first: the ticker may be in a thread
        self.stalled_ms = 0
        self.subject = None
        if self.duties is not None:
            self.duties.begin()
        self.active = True

    def end(self, feed):
        """End watching: nobody turns any more. feed: the hardware watchdog, see `duties`."""
        was_on = self.active
        self.active = False
        if self.action is not None:
            self.action.release()
        if self.duties is None or not self.duties.end(was_on, feed):
            self.stop()

    def close(self):
        """Stop polling the agent, as `warden.stop()` does."""
        self.end(True)
        owner = self.owner
        owner.__class__.stop(owner)

    # --- turns ----------------------------------------------------------------------------------

    def poll(self):
        """Poll the agent; that is a turn unless a call from elsewhere made it."""
        agent = self.agent
        left = agent.__class__.poll(agent)
        task = self.current()
        if task in self.owner.tasks:
            self.pause = 0  # the loop goes on: a task awaits inside `sleeping()`
        if self.polled if task is None else task in self.owner.tasks:
            self.renew(self.ticks_ms())
        return min(left, self.wait_ms) if self.active else left

    def renew(self, now):
        """Note that the application turns; allocates nothing if all is well."""
        hung = self.ticks_diff(now, self.last_ms)
        self.last_ms = now
        duties = self.duties
        if not self.active:
            if duties is not None:
                duties.relax(now)
            return
        if hung > _BLOCKED_MS and duties is not None:
            duties.skip(hung)
        subject = self.subject
        if subject is not None:  # it has gone on by itself, or after an interrupt that it caught
            self.longest = max(self.longest, hung)
            if self.action is None or self.action.release(now):  # else one may still come
                self.post(_OVER, subject or None, self.longest)
                self.subject = None
                if duties is not None:
                    duties.note_fault(None)
        elif self.timer is None and hung > self.hang_ms and not self.admitted():
            self.post(_OVER, None, hung)
        self.patience_ms = self.stalled_ms = 0
        self.watch = True
        self.check(now)

    def relax(self, now, ms):
        """Note that a sleep is over that was announced, after `ms`; see `warden.sleep`."""
        if self.duties is not None:
            self.duties.skip(ms)
        self.last_ms = now
        self.stalled_ms = 0

    def check(self, now):
        """Look for a hang, and have the duties looked at if there is none.

        Where it interrupts the main program, that is its last act. Not for the longest time in
        which the ticker did not tick either: a debugger had the core, say, or what blocked it is
        over. The longest alone: what holds it up again and again hangs.
        """
        hung = self.ticks_diff(now, self.last_ms)
        limit_ms = self.hang_ms + self.patience_ms
        late = False
        if hung >= self.pause:
            if self.watch and hung > limit_ms:
                if self.subject is None and not self.admitted():
                    self.longest = 0
                    self.subject = self.find()
                    self.post(_BEGUN, self.subject or None, hung)
                    if self.duties is not None:
                        self.duties.note_fault(self.subject)
                if self.subject is not None:
                    if self.action is None or hung - self.stalled_ms <= limit_ms:
                        return None
                    return self.action.preempt(now)
            else:
                late = hung <= _BLOCKED_MS or not self.watch
        return None if self.duties is None else self.duties.check(now, late)

    def admitted(self):
        """Tell whether an operation with a timeout of its own may take this long."""
        policy = self.agent.policy
        if policy is not None:
            self.agent.clock.advance()
            operations = policy.operations
            for op in operations.rows:
                if op is not None and op.timeout_ms is not None and op.state == _ACTIVE:
                    # Without a ticker the task that was blocked is not known.
                    if self.timer is None or op.task is self.current():
                        if not operations.is_over(op.row) and not self.in_threads[op.row]:
                            return True
        return False

    # --- who it is ------------------------------------------------------------------------------

    def current(self):
        """Return the task of asyncio that has the loop, None without one."""
        core = self.agent.load.core
        return None if core is None else core.cur_task

    def find(self):
        """Return the names of the task and of the operation that run, "task: operation", or "".

        A generator has that of its function in its repr() only.
        """
        task = self.current()
        name = newest = None
        try:
            if task is not None:
                name = getattr(task.coro, "name", None)  # of a metered one
                if name is None:
                    name = repr(task.coro).split("'")
                    name = name[1] if len(name) == 3 else None
            if self.agent.policy is not None:
                for op in self.agent.policy.operations.rows:
                    if op is not None and op.task is task and _ACTIVE <= op.state <= _STOPPING:
                        if newest is None or op.id > newest.id:
                            newest = op
            if newest is not None:
                name = newest.name if name is None else name + ": " + newest.name
            return cut(name or "", _MAX_CULPRIT)
        except MemoryError:
            return ""

    def post(self, how, name, ms):
        """Post an event."""
        policy = self.agent.policy
        if policy is not None:
            self.agent.clock.advance()
            policy.events.post("hang", how, name, ms)

    # --- operations -----------------------------------------------------------------------------

    def admit(self, op, task=None):
        """Begin an operation, and note it at once: it may be the one that hangs in C."""
        operations = op.table  # which may be of an agent before
        op = operations.__class__.begin(operations, op, task)
        # The application does not wait for a thread's.
        self.in_threads[op.row] = get_ident() != self.owner.thread
        if self.duties is not None:
            self.crashes.put_last()
        return op

    def complete(self, op, promote=True, how="ended"):
        """End an operation; one whose time was announced counts as a turn, but of a thread."""
        operations = op.table
        ended = operations.__class__.end(operations, op, promote, how)
        if ended and op.timeout_ms is not None and get_ident() == self.owner.thread:
            now = self.ticks_ms()
            self.longest = max(self.longest, self.ticks_diff(now, self.last_ms))
            self.last_ms = now
            self.stalled_ms = 0
        if self.duties is not None:
            self.crashes.put_last()
        return ended

    # --- the ticker -----------------------------------------------------------------------------

    def stop(self):
        """Stop the ticker."""
        self.generation += 1
        if self.timer:
            self.timer.stop_timer()
        self.timer = None

    def start(self, start, period_ms):
        """Tick in a thread of its own, which keeps the globals of the module that starts it."""
        start(self.run, (self.generation, period_ms))

    def run(self, generation, period_ms):
        """Tick, in a thread: on after a Ctrl-C for the main program, which unix may raise here."""
        while generation == self.generation:
            try:
                self.agent.board.sleep_ms(period_ms)
                if generation == self.generation:
                    self.run_due(0)
            except BaseException:  # it is counted; watching goes on
                self.agent.faults += 1

    def run_due(self, _):
        """Check, unless a lock of the agent is locked: the code below may be inside it."""
        if self.timer:
            self.timer.is_scheduled = False
        now = self.ticks_ms()
        late = min(self.ticks_diff(now, self.ticked_ms), self.ticks_diff(now, self.last_ms))
        self.ticked_ms = now
        self.stalled_ms = max(self.stalled_ms, late)
        if self.agent.threads.locked():
            return None
        if self.active:
            return self.check(now)
        return None if self.duties is None else self.duties.relax(now)
