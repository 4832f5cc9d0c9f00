"""The watchdog: finds out that the application hangs, or that a part of it has stopped, and acts.

Loaded when the application calls `warden.watchdog()` or `warden.checkin()`. A turn is a step of the
agent's task in the event loop, or a call of `warden.poll()`; one that a machine.Timer makes is
none. A ticker, a machine.Timer or where the port has none a thread, looks whether there are turns;
without either, that is found out at the next turn.
"""

from micropython import const

from warden.blackbox import HUNG, UNFED, WATCHED
from warden.board import module
from warden.checks import check_int
from warden.crashes import set_up
from warden.runner import Runner
from warden.running import get_runner
from warden.sensors.load import imported_asyncio
from warden.sensors.threads import import_lock
from warden_schema.codec import cut

_MAX_CHECKINS = const(8)
_MAX_NAME = const(24)
_MAX_CULPRIT = const(32)
_MIN_HANG_MS = const(500)  # the agent's task has a turn each 250 ms
_MAX_HANG_MS = const(3_600_000)
_MAX_EVERY_MS = const(86_400_000)
_BLOCKED_MS = const(1000)  # the time of a longer turn is nobody's who has to check in
_UNSTARTED_MS = const(30_000)  # an event loop may begin so late
_AGAIN_MS = const(2000)  # an interrupt is noticed by then
_MAX_TRIES = const(3)  # to interrupt the same hang
_MAX_NOTES = const(6)  # of a culprit, in the file, in a boot
_MAX_STREAK = const(9)  # of bad boots in a row, after which there are none
_CARE_MS = const(600_000)  # how long the hardware watchdog is fed for nobody
_HOUR_MS = const(3_600_000)
_MIN_TICK_MS = const(50)
_MAX_TICK_MS = const(1000)
_STACK_BYTES = const(16_384)  # of a ticker's thread
_TASK = const(0)  # a kind of meter
_HANG_KIND = const(4)  # of ids.EXCEPTION_KINDS
_ACTIVE = const(1)  # states of an operation
_STOPPING = const(2)
_AT_CRITICAL = const(2)  # a level
_CAN_HANG = const(15)  # places among the capabilities
_CAN_LINE = const(16)
_CAN_HARDWARE = const(17)
_NO_WATCHDOG = const(14)  # reasons, from ids
_NO_TICKER = const(15)
_TELL = const(0)  # places among _ACTIONS
_RESET = const(2)
_ACTIONS = const(("tell", "stop", "reset"))
_BEGUN = const(0)  # of ids.HANG_STEPS
_OVER = const(1)
_STOPPED = const(2)
_WAS_RESET = const(3)
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
    """Return the name of a coroutine's function: a generator has it in its repr() only."""
    if hasattr(coro, "name"):
        return coro.name
    words = repr(coro).split("'")
    return words[1] if len(words) == 3 else None


class TaskWatchdog:
    """Watches turns and check-ins; the one of this board is `Crashes.watchdog`."""

    def __init__(self, crashes):
        self.crashes = crashes
        self.box = crashes.black_box
        board = self.box.board
        self.ticks_ms = board.ticks_ms
        self.ticks_diff = board.ticks_diff
        self.schedule = __import__("micropython").schedule
        self.on_schedule = self.tick
        self.checkins = [None] * _MAX_CHECKINS
        self.agent = self.runner = None
        self.is_on = False
        # What is set by configure().
        self.hang_ms = self.turn_ms = self.max_restarts = self.action = 0
        self.interrupter = None
        self.no_line = _NO_WATCHDOG  # why a blocked line cannot be found, a reason
        self.is_polled = False  # by the application itself
        self.feed_hardware = None
        self.hardware_ms = None
        self.critical = None  # the Checkin of what is protected, fed while that is not critical
        # Turns.
        self.watches_turns = self.by_timer = False
        self.turned_ms = self.patience_ms = 0
        self.fed_ms = 0
        self.ended_ms = None  # when nobody turned any more, and it was to be fed
        self.hanging = None  # what hangs, "" for somebody without a name
        self.late = None  # the Checkin that is
        self.tries = 0  # to interrupt a hang
        self.hung_ms = 0  # when it is over
        self.requested_ms = None  # in ticks, when it was interrupted
        self.restarts = self.notes = 0
        self.is_saved = False  # whether the file names a culprit
        self.hour_ms = self.ticks_ms()  # in which those restarts were
        # The ticker.
        self.timer = None
        self.generation = 0  # of its threads
        self.is_scheduled = False

    # --- setting up -----------------------------------------------------------------------------

    def configure(self, hang_ms, action, hardware_ms, critical_ms, max_restarts, polled):
        """Set what `watchdog()` was given, and begin to watch."""
        agent = get_runner().agent
        board = agent.board
        if self.crashes.main is None and (action != _TELL or hardware_ms is not None):
            raise RuntimeError("only inside warden.run()")
        if action == _RESET and board.reset is None:
            raise ValueError("action: this port cannot reset itself")
        core = imported_asyncio()
        self.is_polled = polled or Runner.current.timer is None
        self.watches_turns = True
        self.patience_ms = 0
        if not self.is_polled and (core is None or core.cur_task is None):
            self.patience_ms = _UNSTARTED_MS  # the event loop may still begin
            if any(self.checkins):
                self.watches_turns = False
            elif core is None:
                raise RuntimeError("a Timer runs the agent: warden.checkin() first, or polled=True")
        if hardware_ms is not None and hardware_ms != self.hardware_ms:
            with import_lock:
                from warden.hardware_watchdog import start_hardware
            self.feed_hardware = start_hardware(board, hardware_ms)
            self.hardware_ms = hardware_ms
        if self.feed_hardware is not None and critical_ms is not None and self.critical is None:
            self.critical = self.add("pressure", critical_ms)
        if action != _TELL and self.interrupter is None:
            with import_lock:
                from warden.interrupter import find_interrupter
            self.interrupter, self.no_line = find_interrupter()
        self.hang_ms = hang_ms
        self.action = action
        self.max_restarts = max_restarts
        self.turn_ms = min(hang_ms, self.hardware_ms or hang_ms) // 4
        self.attach(agent)

    def add(self, name, every_ms):
        """Return a new Checkin; ValueError if there are eight. One of the same name ends."""
        name = cut(name, _MAX_NAME)
        rows = self.checkins
        for each in rows:
            if each is not None and each.name == name:
                each.close()
        if None not in rows:
            raise ValueError("no more than eight")
        checkin = Checkin(self.ticks_ms, rows, name, every_ms)
        rows[rows.index(None)] = checkin
        return checkin

    def attach(self, agent):
        """Watch an agent's turns from now on."""
        if agent is not self.agent:
            self.agent = agent
            self.runner = runner = Runner.current
            self.agent_poll = agent.poll
            agent.poll = self.poll
            self.agent_close = agent.close
            agent.close = self.close
            self.timer_poll = runner.scheduled_poll
            runner.scheduled_poll = self.poll_by_timer
            self.count_task = agent.load.counted
            agent.load.counted = self.named
            if agent.policy is not None:
                operations = agent.policy.operations
                self.begin_operation = operations.begin
                operations.begin = self.on_begin
                self.end_operation = operations.end
                operations.end = self.on_end
        self.begin()
        agent.reasons[_CAN_HANG] = self.start_ticker()
        agent.reasons[_CAN_LINE] = self.no_line
        agent.reasons[_CAN_HARDWARE] = _NO_WATCHDOG if self.feed_hardware is None else 0
        if agent.session is not None:
            agent.session.hello_dirty = True
        agent.clock.poll_now = True

    def begin(self):
        """Begin to watch; what was before does not count."""
        self.turned_ms = self.ticks_ms()  # first: the ticker may be in a thread
        self.hanging = self.late = self.requested_ms = None
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
        self.release()
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
        if self.watches_turns and hung > self.hang_ms + self.patience_ms:
            if self.hanging is not None:
                return self.insist(now)
            if not self.is_announced():
                return self.on_hang(now, hung)
        elif hung <= _BLOCKED_MS or not self.watches_turns:
            self.check_late(now)
        if self.late is None and self.feed_hardware is not None:
            if self.ticks_diff(now, self.fed_ms) >= self.hardware_ms // 4:
                self.fed_ms = now
                self.feed_hardware()
        return None

    def check_late(self, now):
        """Look for somebody who is late to check in, and note it once."""
        if self.critical is not None and not self.is_critical():
            self.critical.feed()
        late = self.find_late(now)
        if late is not self.late:
            self.late = late
            if late is not None:
                self.post(_LATE, late.name, self.ticks_diff(now, late.fed_ms))
            self.set_culprit(late and late.name)

    def is_critical(self):
        """Tell whether something that is protected is critical."""
        policy = self.agent.policy
        return policy is not None and policy.pressure.level == _AT_CRITICAL

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
                    if not operations.is_over(op.row):
                        return True
        return False

    def running_task(self):
        """Return the task of asyncio that has the loop, None without one."""
        core = self.agent.load.core
        return None if core is None else core.cur_task

    # --- a hang ---------------------------------------------------------------------------------

    def on_hang(self, now, hung):
        """Post the event, note in the black box who hangs, and interrupt it if that is wanted."""
        try:
            self.hanging = self.find_culprit() or ""
        except MemoryError:
            self.hanging = ""
        self.post(_BEGUN, self.hanging or None, hung)
        self.set_culprit(self.hanging)
        self.tries = self.hung_ms = 0
        return self.insist(now)

    def insist(self, now):
        """Interrupt what hangs, again where that had no effect; reset where there is no way."""
        if self.action == _TELL or self.crashes.main is None:
            return None
        requested = self.requested_ms
        if requested is not None:
            if self.ticks_diff(now, requested) < self.interrupter.again_ms:
                return None
        self.tries += 1
        if self.tries <= _MAX_TRIES and self.interrupter is not None:
            if self.interrupter.prepare():
                self.requested_ms = now
                return self.interrupter.fire()
        elif self.action == _RESET:
            self.reset(None)
        return None

    def on_hang_over(self, now, hung):
        """Note that the loop has gone on by itself, or after an interrupt that it caught."""
        self.hung_ms = max(self.hung_ms, hung)
        requested = self.requested_ms
        if requested is not None and self.ticks_diff(now, requested) < _AGAIN_MS:
            return  # it may still come
        self.post(_OVER, self.hanging or None, self.hung_ms)
        self.hanging = None
        self.release()
        self.set_culprit(None)

    def on_interrupt(self, error):
        """Tell whether it was the watchdog that ended the application, which then is to run anew.

        Its traceback is kept. Does not return where the board is reset.
        """
        hung = self.hanging
        if self.requested_ms is None or not self.is_on:
            return False
        self.is_on = False  # the ticker may be in a thread
        now = self.ticks_ms()
        ms = self.ticks_diff(now, self.turned_ms)
        self.release()
        self.box.board.collect()
        caught = self.crashes.keep(error, _HANG_KIND, (hung and cut(hung, _MAX_NAME)) or None)
        main = self.crashes.main
        if self.ticks_diff(now, self.hour_ms) > _HOUR_MS:
            self.hour_ms = now
            self.restarts = 0
        self.restarts += 1
        can_restart = isinstance(main, str) or callable(main)
        if self.action == _RESET or self.restarts > self.max_restarts or not can_restart:
            if self.box.board.reset is not None:
                self.post(_WAS_RESET, hung or None, ms)
                self.reset(caught)
            self.is_on = True
            return False
        self.post(_STOPPED, hung or None, ms)
        if isinstance(main, str):
            __import__("sys").modules.pop(main, None)
        self.forget_tasks()
        self.begin()
        return True

    def reset(self, caught):
        """Reset the board, for what hangs; caught: its row, if its traceback was kept."""
        box = self.box
        box.set_culprit(self.hanging or None, HUNG, caught is None and self.may_save())
        if caught is not None:
            box.note_exception(caught, HUNG)
        box.board.reset()

    def release(self):
        """Forget an interrupt that was requested."""
        self.requested_ms = None
        if self.interrupter is not None:
            self.interrupter.release()

    def forget_tasks(self):
        """Forget the tasks of the application that was stopped, and end what they had begun."""
        core = imported_asyncio()
        if core is not None:
            core.new_event_loop()
            core.cur_task = None
        policy = self.agent.policy
        if policy is None:
            return
        for op in policy.operations.rows:
            if op is not None and op.task is not None:
                policy.operations.end(op)
        for meter in policy.meters.rows:
            if meter is not None and meter.kind == _TASK:
                policy.meters.remove(meter)

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
        self.box.running = WATCHED
        state = WATCHED if name is None else UNFED
        if state != self.box.state or name is not None:
            must_save = self.is_saved if name is None else self.may_save()
            self.is_saved = must_save and name is not None
            self.box.set_culprit(name or None, state, must_save)

    def may_save(self):
        """Tell whether to write the file: where nothing else survives, and not for ever."""
        self.notes += 1
        box = self.box
        return box.is_in_file and self.notes <= _MAX_NOTES and box.streak < _MAX_STREAK

    def post(self, what, name, ms):
        """Post an event."""
        if self.agent.policy is not None:
            self.agent.clock.advance()
            self.agent.policy.events.post("hang", what, name, ms)

    # --- operations -----------------------------------------------------------------------------

    def on_begin(self, op, task=None):
        """Begin an operation, and note it at once: it may be the one that hangs in C."""
        op = self.begin_operation(op, task)
        self.note_operation()
        return op

    def on_end(self, op, promote=True, how="ended"):
        """End an operation; one whose time was announced counts as a turn."""
        has_ended = self.end_operation(op, promote, how)
        if has_ended and op.timeout_ms is not None:
            self.turned_ms = self.ticks_ms()
        self.note_operation()
        return has_ended

    def note_operation(self):
        """Put the running operation into the black box."""
        if self.feed_hardware is not None and self.box.events is not None:
            self.box.put_decided()
            if self.box.copy is not None:
                self.box.copy(self.box.buf)

    # --- the ticker -----------------------------------------------------------------------------

    def start_ticker(self):
        """Start the ticker; return 0, or the reason why there is none."""
        period = max(_MIN_TICK_MS, min(_MAX_TICK_MS, self.turn_ms // 2))
        self.stop_ticker()
        machine = module("machine")
        if hasattr(machine, "Timer"):
            try:
                self.timer = timer = machine.Timer(-1)
                timer.init(period=period, mode=timer.PERIODIC, callback=self.on_timer)
                return 0
            except ValueError:  # this port has no virtual timers
                self.timer = None
        start = getattr(self.agent.threads, "start", None)
        if start is None:
            return _NO_TICKER
        stack_size = module("_thread").stack_size
        before = stack_size(_STACK_BYTES)
        start(self.run_ticks, (self.generation, period))
        stack_size(before)
        self.timer = False
        return 0

    def stop_ticker(self):
        """Stop the ticker."""
        self.generation += 1
        if self.timer:
            self.timer.deinit()
        self.timer = None

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
                self.schedule(self.on_schedule, 0)
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


def _watchdog_of(crashes):
    """Return the TaskWatchdog of this board, made at the first call."""
    if crashes.watchdog is None:
        crashes.watchdog = TaskWatchdog(crashes)
    return crashes.watchdog


def watchdog(
    hang_ms=5000, action="tell", hardware_ms=None, critical_ms=60_000, restarts=6, polled=False
):
    """Watch that the application turns: that its event loop, or its calls of `poll()`, go on.

    hang_ms: without a turn for so long it hangs; an operation with a `timeout_ms` of its own has
    that time. action: "tell" posts the event `hang`; "stop" interrupts it too, keeps the traceback,
    and has `warden.run()` run it anew, so many times an hour as `restarts`, then resets the board;
    "reset" keeps the traceback and resets the board. hardware_ms: starts the hardware watchdog, and
    feeds it only while there are turns, each `checkin()` is in time, and nothing that is protected
    has been critical for critical_ms (None: for ever). polled: the application calls `poll()`
    itself, on a port where a Timer would do that, too.

    RuntimeError before `start()`, for an action outside of `warden.run()`, and where only a Timer
    makes turns. ValueError for what the port does not take.
    """
    check_int("hang_ms", hang_ms, _MIN_HANG_MS, _MAX_HANG_MS)
    check_int("restarts", restarts, 0, 1000)
    if critical_ms is not None:
        check_int("critical_ms", critical_ms, 0, _MAX_EVERY_MS)
    if action not in _ACTIONS:
        raise ValueError("action must be tell, stop or reset")
    action = _ACTIONS.index(action)
    get_runner()
    dog = _watchdog_of(set_up())
    dog.configure(hang_ms, action, hardware_ms, critical_ms, restarts, polled)


def checkin(name, every_ms):
    """Return a `Checkin`: `feed()` must be called every every_ms (1 to 86 400 000), from now on.

    One of the same name ends. Before `watchdog()` nobody looks. ValueError beyond eight.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("a check-in has a name")
    check_int("every_ms", every_ms, 1, _MAX_EVERY_MS)
    return _watchdog_of(set_up()).add(name, every_ms)
