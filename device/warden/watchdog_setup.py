"""What the application calls to set up the watchdog; loaded for each call, and then let go."""

from micropython import const

from warden.board import module
from warden.checks import check_int
from warden.crash_setup import set_up
from warden.hardware_watchdog import start_hardware
from warden.runner import Runner
from warden.running import get_runner
from warden.sensors.load import imported_asyncio
from warden.sensors.threads import import_lock
from warden.task_watchdog import Checkin, TaskWatchdog
from warden_schema.codec import cut

_MAX_NAME = const(24)
_MAX_CHECKINS = const(8)
_MIN_HANG_MS = const(500)  # the agent's task has a turn each 250 ms
_MAX_HANG_MS = const(3_600_000)
_MAX_EVERY_MS = const(86_400_000)
_UNSTARTED_MS = const(30_000)  # an event loop may begin so late
_MIN_TICK_MS = const(50)
_MAX_TICK_MS = const(1000)
_STACK_BYTES = const(16_384)  # of a ticker's thread
_CAN_HANG = const(15)  # places among the capabilities
_CAN_LINE = const(16)
_CAN_HARDWARE = const(17)
_NO_WATCHDOG = const(14)  # reasons, from ids
_NO_TICKER = const(15)
_ACTIONS = const(("tell", "stop", "reset"))


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
    get_runner()
    configure(watchdog_of(set_up()), hang_ms, action, hardware_ms, critical_ms, restarts, polled)


def checkin(name, every_ms):
    """Return a `Checkin`: `feed()` must be called every every_ms (1 to 86 400 000), from now on.

    One of the same name ends. Before `watchdog()` nobody looks. ValueError beyond eight.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("a check-in has a name")
    check_int("every_ms", every_ms, 1, _MAX_EVERY_MS)
    return add_checkin(watchdog_of(set_up()), name, every_ms)


def watchdog_of(crashes):
    """Return the TaskWatchdog of this board, made at the first call."""
    if crashes.watchdog is None:
        crashes.watchdog = make_watchdog(crashes)
    return crashes.watchdog


def make_watchdog(crashes):
    """Return a new TaskWatchdog, which watches nothing yet."""
    watchdog = TaskWatchdog()
    watchdog.crashes = crashes
    board = crashes.board
    watchdog.ticks_ms = board.ticks_ms
    watchdog.ticks_diff = board.ticks_diff
    watchdog.on_schedule = watchdog.tick
    watchdog.checkins = [None] * _MAX_CHECKINS
    watchdog.agent = watchdog.runner = None
    watchdog.is_on = False
    # What `configure()` sets.
    watchdog.hang_ms = watchdog.turn_ms = 0
    watchdog.stopper = None  # stops what hangs, or resets the board for it, see `hang_stopper`
    watchdog.is_polled = False  # by the application itself
    watchdog.feed_hardware = None
    watchdog.hardware_ms = None
    watchdog.critical = None  # the Checkin of what is protected, fed while that is not critical
    # Turns.
    watchdog.watches_turns = watchdog.by_timer = False
    watchdog.turned_ms = watchdog.patience_ms = 0
    watchdog.asleep_ms = 0  # so long without a turn is a sleep, while one was announced
    watchdog.fed_ms = 0
    watchdog.ended_ms = None  # when nobody turned any more, and it was to be fed
    watchdog.hanging = None  # what hangs, "" for somebody without a name
    watchdog.late = None  # the Checkin that is
    watchdog.hung_ms = 0  # when it is over
    watchdog.notes = 0
    watchdog.is_saved = False  # whether the file names a culprit
    # The ticker.
    watchdog.timer = None
    watchdog.generation = 0  # of its threads
    watchdog.is_scheduled = False
    return watchdog


def add_checkin(watchdog, name, every_ms):
    """Return a new Checkin; ValueError if there are eight. One of the same name ends."""
    name = cut(name, _MAX_NAME)
    rows = watchdog.checkins
    for each in rows:
        if each is not None and each.name == name:
            each.close()
    if None not in rows:
        raise ValueError("no more than eight")
    checkin = Checkin(watchdog.ticks_ms, rows, name, every_ms)
    rows[rows.index(None)] = checkin
    return checkin


def configure(watchdog, hang_ms, action, hardware_ms, critical_ms, max_restarts, polled):
    """Set what `watchdog()` was given, and begin to watch."""
    agent = get_runner().agent
    board = agent.board
    if watchdog.crashes.main is None and (action != "tell" or hardware_ms is not None):
        raise RuntimeError("only inside warden.run()")
    if action == "reset" and board.reset is None:
        raise ValueError("action: this port cannot reset itself")
    core = imported_asyncio()
    watchdog.is_polled = polled or Runner.current.timer is None
    watchdog.watches_turns = True
    watchdog.patience_ms = 0
    if not watchdog.is_polled and (core is None or core.cur_task is None):
        watchdog.patience_ms = _UNSTARTED_MS  # the event loop may still begin
        if any(watchdog.checkins):
            watchdog.watches_turns = False
        elif core is None:
            raise RuntimeError("a Timer runs the agent: warden.checkin() first, or polled=True")
    if hardware_ms is not None and hardware_ms != watchdog.hardware_ms:
        watchdog.feed_hardware = start_hardware(board, hardware_ms)
        watchdog.hardware_ms = hardware_ms
    if watchdog.feed_hardware and critical_ms is not None and watchdog.critical is None:
        watchdog.critical = add_checkin(watchdog, "pressure", critical_ms)
    no_line = _NO_WATCHDOG  # why a blocked line cannot be found, a reason
    if action == "tell":
        watchdog.stopper = None
    else:
        no_line = set_stopper(watchdog, action == "reset", max_restarts)
    watchdog.hang_ms = hang_ms
    watchdog.turn_ms = min(hang_ms, watchdog.hardware_ms or hang_ms) // 4
    attach(watchdog, agent)
    reasons = agent.reasons
    reasons[_CAN_HANG] = start_ticker(watchdog)
    reasons[_CAN_LINE] = no_line
    reasons[_CAN_HARDWARE] = _NO_WATCHDOG if watchdog.feed_hardware is None else 0
    if agent.session is not None:
        agent.session.hello_dirty = True
    agent.clock.poll_now = True


def set_stopper(watchdog, resets, max_restarts):
    """Have the watchdog stop what hangs; return 0, or the reason why it cannot interrupt it."""
    with import_lock:
        from warden.hang_stopper import HangStopper
        from warden.interrupter import find_interrupter
    if watchdog.stopper is None:
        watchdog.stopper = HangStopper(watchdog)
    watchdog.stopper.interrupter, no_line = find_interrupter()
    watchdog.stopper.resets = resets
    watchdog.stopper.max_restarts = max_restarts
    return no_line


def attach(watchdog, agent):
    """Watch an agent's turns from now on."""
    if agent is not watchdog.agent:
        watchdog.agent = agent
        watchdog.runner = runner = Runner.current
        watchdog.agent_poll = agent.poll
        agent.poll = watchdog.poll
        watchdog.agent_close = agent.close
        agent.close = watchdog.close
        watchdog.timer_poll = runner.scheduled_poll
        runner.scheduled_poll = watchdog.poll_by_timer
        watchdog.count_task = agent.load.counted
        agent.load.counted = watchdog.named
        if agent.policy is not None:
            operations = agent.policy.operations
            watchdog.begin_operation = operations.begin
            operations.begin = watchdog.on_begin
            watchdog.end_operation = operations.end
            operations.end = watchdog.on_end
    watchdog.begin()


def start_ticker(watchdog):
    """Start the ticker; return 0, or the reason why there is none."""
    period = max(_MIN_TICK_MS, min(_MAX_TICK_MS, watchdog.turn_ms // 2))
    watchdog.stop_ticker()
    machine = module("machine")
    if hasattr(machine, "Timer"):
        try:
            watchdog.timer = timer = machine.Timer(-1)
            timer.init(period=period, mode=timer.PERIODIC, callback=watchdog.on_timer)
            return 0
        except ValueError:  # this port has no virtual timers
            watchdog.timer = None
    start = getattr(watchdog.agent.threads, "start", None)
    if start is None:
        return _NO_TICKER
    stack_size = module("_thread").stack_size
    before = stack_size(_STACK_BYTES)
    watchdog.start_thread(start, period)
    stack_size(before)
    watchdog.timer = False
    return 0
