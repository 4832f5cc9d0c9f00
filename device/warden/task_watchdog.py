"""The watchdog: finds out that the application hangs, or that a part of it has stopped, and acts.

Loaded when the application calls `warden.watchdog()` or `warden.checkin()`, which
`watchdog_setup` has. A turn is a step of the agent's task in the event loop, or a call of
`warden.poll()`; one that a machine.Timer makes is none. A ticker, a machine.Timer or where the port
has none a thread, looks whether there are turns; without either, that is found out at the next
turn.
"""

from micropython import const, schedule

from warden.sensors.threads import get_ident
from warden_schema.codec import cut

_MAX_CULPRIT = const(32)
_BLOCKED_MS = const(1000)  # the time of a longer turn is nobody's who has to check in
_MAX_NOTES = const(6)  # of a culprit, in the file, in a boot
_MAX_STREAK = const(9)  # of bad boots in a row, after which there are none
_CARE_MS = const(600_000)  # how long the hardware watchdog is fed for nobody
_WATCHED = const(5)  # states of the record, as in `crashes`
_UNFED = const(6)
_ACTIVE = const(1)  # states of an operation
_STOPPING = const(2)
_AT_CRITICAL = const(2)  # a level
_BEGUN = const(0)  # of ids.HANG_STEPS
_OVER = const(1)
_LATE = const(4)


class Checkin:
    """A part of the application that has to call `feed()` in time; `close()` ends that."""

    def __init__(self, ticks_ms, rows, name, every_ms):
        self.ticks_ms = ticks_ms
        self.rows = rows
        self.name = name
        self.every_ms = every_ms
        self.excused_ms = 0  # how long the loop was blocked since it was fed
        self.fed_ms = ticks_ms()

    def feed(self):
        """Note that this part goes on; from any thread."""
        self.fed_ms = self.ticks_ms()
        self.excused_ms = 0

    def close(self):
        """End it: nobody has to check in any more."""
        if self in self.rows:
            self.rows[self.rows.index(self)] = None


class NamedCoroutine:
    """A coroutine with the name of its function, for asyncio, which calls send and throw."""

    def __init__(self, coro, name):
        self.send = coro.send
        self.throw = coro.throw
        self.name = name


def _name_of(coro):
    """Return the name of a coroutine's function: a generator has it in its repr() only.

    None for a task that was made before there was a watchdog: `Load.counted` hides it.
    """
    if hasattr(coro, "name"):
        return coro.name
    words = repr(coro).split("'")
    return words[1] if len(words) == 3 and words[1] != "counted" else None


class TaskWatchdog:
    """Watches turns and check-ins; the one of this board is `Crashes.watchdog`.

    Made by `watchdog_setup.watchdog_of`, which lists what it has.
    """

    # --- setting up -----------------------------------------------------------------------------

    def begin(self):
        """Begin to watch; what was before does not count."""
        self.turned_ms = self.ticks_ms()  # first: the ticker may be in a thread
        self.hanging = self.late = None
        for each in self.checkins:
            if each is not None:
                each.feed()
        self.ended_ms = None
        self.is_on = True
        self.set_culprit(None)

    def end(self, must_feed):
        """End watching: nobody turns any more. The hardware watchdog is fed for ten minutes more.

        must_feed: or it is not, and resets the board.
        """
        was_on = self.is_on
        self.is_on = False
        if self.stopper is not None:
            self.stopper.release()
        if self.feed_hardware is None or not must_feed:
            self.ended_ms = None
            self.stop_ticker()
        elif was_on:
            self.ended_ms = self.ticks_ms()
            self.feed_hardware()
            for_ms = self.hardware_ms if self.timer is None else _CARE_MS
            print("warden: the hardware watchdog resets the board in", for_ms // 1000, "s")

    def close(self):
        """Close the agent, as `warden.stop()` does."""
        self.end(True)
        self.agent_close()

    # --- turns ----------------------------------------------------------------------------------

    def poll(self):
        """Poll the agent; that is a turn unless a Timer or a call from elsewhere made it."""
        left = self.agent_poll()
        if not self.by_timer:
            task = self.running_task()
            if self.is_polled if task is None else task in self.runner.tasks:
                self.on_turn(self.ticks_ms())
        return min(left, self.turn_ms) if self.is_on else left

    def poll_by_timer(self, _):
        """Poll the agent as its timer does, which is no turn."""
        self.by_timer = True
        try:
            self.timer_poll(_)
        finally:
            self.by_timer = False

    def on_turn(self, now):
        """Note that the application turns; allocates nothing if all is well."""
        hung = self.ticks_diff(now, self.turned_ms)
        self.turned_ms = now
        if not self.is_on:
            self.care(now)
            return
        if hung > _BLOCKED_MS:
            self.excuse(hung)
        if self.hanging is not None:
            self.on_hang_over(now, hung)
        elif self.timer is None and hung > self.hang_ms and not self.is_announced():
            self.post(_OVER, None, hung)
        self.patience_ms = 0
        self.watches_turns = True
        self.check(now)

    def on_awake(self, now, ms):
        """Note that a sleep is over that was announced, after `ms`; see `warden.sleep`."""
        self.excuse(ms)
        self.turned_ms = now
        self.asleep_ms = 0

    def excuse(self, ms):
        """Give those who have to check in the time for which nobody had a turn."""
        for each in self.checkins:
            if each is not None:
                each.excused_ms += ms

    def check(self, now):
        """Look for a hang, and for who is late; feed the hardware watchdog if there is neither.

        Where it interrupts the main program, that is its last act.
        """
        hung = self.ticks_diff(now, self.turned_ms)
        if hung < self.asleep_ms:
            pass
        elif self.watches_turns and hung > self.hang_ms + self.patience_ms:
            if self.hanging is None and not self.is_announced():
                self.on_hang(now, hung)
            if self.hanging is not None:
                return None if self.stopper is None else self.stopper.insist(now)
        elif hung <= _BLOCKED_MS or not self.watches_turns:
            self.check_late(now)
        if self.late is None and self.feed_hardware is not None:
            if self.ticks_diff(now, self.fed_ms) >= self.hardware_ms // 4:
                self.fed_ms = now
                self.feed_hardware()
        return None

    def check_late(self, now):
        """Look for somebody who is late to check in, and note it once."""
        if self.critical is not None:
            if self.agent.policy is None or self.agent.policy.pressure.level != _AT_CRITICAL:
                self.critical.feed()
        late = self.find_late(now)
        if late is not self.late:
            self.late = late
            if late is not None:
                self.post(_LATE, late.name, self.ticks_diff(now, late.fed_ms))
            self.set_culprit(late and late.name)

    def find_late(self, now):
        """Return the first Checkin that is late, None if none is."""
        for each in self.checkins:
            if each is not None:
                if self.ticks_diff(now, each.fed_ms) > each.every_ms + each.excused_ms:
                    return each
        return None

    def is_announced(self):
        """Tell whether an operation with a timeout of its own may take this long."""
        if self.agent.policy is None:
            return False
        self.agent.clock.advance()
        operations = self.agent.policy.operations
        for op in operations.rows:
            if op is not None and op.timeout_ms is not None and op.state == _ACTIVE:
                # Without a ticker the task that was blocked is not known.
                if self.timer is None or op.task is self.running_task():
                    if not operations.is_over(op.row) and not hasattr(op, "is_elsewhere"):
                        return True
        return False

    def running_task(self):
        """Return the task of asyncio that has the loop, None without one."""
        core = self.agent.load.core
        return None if core is None else core.cur_task

    # --- a hang ---------------------------------------------------------------------------------

    def on_hang(self, now, hung):
        """Post the event, and note in the black box who hangs."""
        try:
            self.hanging = self.find_culprit() or ""
        except MemoryError:
            self.hanging = ""
        self.post(_BEGUN, self.hanging or None, hung)
        self.set_culprit(self.hanging)
        self.hung_ms = 0

    def on_hang_over(self, now, hung):
        """Note that the loop has gone on by itself, or after an interrupt that it caught."""
        self.hung_ms = max(self.hung_ms, hung)
        if self.stopper is not None and not self.stopper.release(now):
            return  # an interrupt may still come
        self.post(_OVER, self.hanging or None, self.hung_ms)
        self.hanging = None
        self.set_culprit(None)

    # --- who it is ------------------------------------------------------------------------------

    def named(self, coro):
        """Return what counts a task, as `Load.counted` does, with the name of its coroutine."""
        return NamedCoroutine(self.count_task(coro), _name_of(coro))

    def find_culprit(self):
        """Return the names of the task and of the operation that run, "task: operation"."""
        task = self.running_task()
        name = newest = None
        if task is not None:
            name = _name_of(task.coro)
        if self.agent.policy is not None:
            for op in self.agent.policy.operations.rows:
                if op is not None and op.task is task and _ACTIVE <= op.state <= _STOPPING:
                    if newest is None or op.id > newest.id:
                        newest = op
        if newest is not None:
            name = newest.name if name is None else name + ": " + newest.name
        return name and cut(name, _MAX_CULPRIT)

    def set_culprit(self, name):
        """Note in the black box why the hardware watchdog is not fed; None: it is."""
        if self.feed_hardware is None:
            return
        self.crashes.running = _WATCHED
        state = _WATCHED if name is None else _UNFED
        if state != self.crashes.state or name is not None:
            must_save = self.is_saved if name is None else self.may_save()
            self.is_saved = must_save and name is not None
            self.crashes.subject = name or None
            self.crashes.enter(state, must_save)

    def may_save(self):
        """Tell whether to write the file: where nothing else survives, and not for ever."""
        self.notes += 1
        crashes = self.crashes
        return crashes.in_file and self.notes <= _MAX_NOTES and crashes.bad < _MAX_STREAK

    def post(self, what, name, ms):
        """Post an event."""
        if self.agent.policy is not None:
            self.agent.clock.advance()
            self.agent.policy.events.post("hang", what, name, ms)

    # --- operations -----------------------------------------------------------------------------

    def on_begin(self, op, task=None):
        """Begin an operation, and note it at once: it may be the one that hangs in C."""
        if get_ident() != self.runner.thread:
            op.is_elsewhere = True  # the application does not wait for a thread's
        op = self.begin_operation(op, task)
        self.note_operation()
        return op

    def on_end(self, op, promote=True, how="ended"):
        """End an operation; one whose time was announced counts as a turn, but of a thread."""
        has_ended = self.end_operation(op, promote, how)
        if has_ended and op.timeout_ms is not None and get_ident() == self.runner.thread:
            self.turned_ms = self.ticks_ms()
        self.note_operation()
        return has_ended

    def note_operation(self):
        """Put the running operation into the black box."""
        if self.feed_hardware is not None:
            self.crashes.put_last()

    # --- the ticker -----------------------------------------------------------------------------

    def stop_ticker(self):
        """Stop the ticker."""
        self.generation += 1
        if self.timer:
            self.timer.deinit()
        self.timer = None

    def start_thread(self, start, period):
        """Tick in a thread of its own, which keeps the globals of the module that starts it."""
        start(self.run_ticks, (self.generation, period))

    def run_ticks(self, generation, period):
        """Tick, in a thread."""
        sleep_ms = self.agent.board.sleep_ms
        while True:
            sleep_ms(period)
            if generation != self.generation:
                return
            try:
                self.tick(0)
            except Exception:  # it is counted; watching goes on
                self.agent.faults += 1

    def on_timer(self, _):
        """Have a tick soon; on some ports this is an interrupt's handler."""
        if not self.is_scheduled:
            self.is_scheduled = True
            try:
                schedule(self.on_schedule, 0)
            except RuntimeError:  # the queue is full; at the next time
                self.is_scheduled = False

    def tick(self, _):
        """Check, unless a lock of the agent is locked: the code below may be inside it."""
        self.is_scheduled = False
        if self.agent.threads.locked():
            return None
        if not self.is_on:
            return self.care(self.ticks_ms())
        return self.check(self.ticks_ms())

    def care(self, now):
        """Feed the hardware watchdog for nobody, ten minutes at most."""
        if self.ended_ms is not None and self.ticks_diff(now, self.ended_ms) < _CARE_MS:
            self.feed_hardware()
