"""What the application calls to set up the watchdog; loaded for each call, and then let go."""

import sys

from micropython import const, schedule

from warden.board import module
from warden.checks import check_int
from warden.crashes import Crashes
from warden.runner import Runner
from warden.running import get_runner
from warden.sensors.load import imported_asyncio
from warden.sensors.threads import import_lock
from warden.task_watchdog import TaskWatchdog

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
    launch(look_up(), hang_ms, action, hardware_ms, critical_ms, restarts, polled)


def checkin(name, every_ms):
    """Return a `Checkin`: `feed()` must be called every every_ms (1 to 86 400 000), from now on.

    One of the same name ends. Before `watchdog()` nobody looks. ValueError beyond eight.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("a check-in has a name")
    check_int("every_ms", every_ms, 1, _MAX_EVERY_MS)
    with import_lock:
        from warden.duties_setup import add
    return add(look_up(), name, every_ms)


def look_up():
    """Return the TaskWatchdog of this board; what joins that with a new agent is loaded then."""
    crashes = Crashes.current
    runner = Runner.current
    if crashes is None or (runner is not None and runner.agent is not crashes.agent):
        with import_lock:
            from warden.crash_setup import install
        crashes = install()
    return make_watchdog(crashes)


def make_watchdog(crashes):
    """Return the TaskWatchdog of this board, made at the first call: it watches nothing yet."""
    if crashes.watchdog is not None:
        return crashes.watchdog
    crashes.watchdog = watchdog = TaskWatchdog()
    watchdog.crashes = crashes
    watchdog.ticks_ms = crashes.board.ticks_ms
    watchdog.ticks_diff = crashes.board.ticks_diff
    watchdog.agent = watchdog.owner = None  # owner: the Runner of the agent
    watchdog.duties = None  # check-ins and the hardware watchdog, see `duties`
    watchdog.active = False
    # What `launch()` sets.
    watchdog.hang_ms = watchdog.wait_ms = 0  # wait_ms: between two turns at most
    watchdog.action = None  # stops what hangs, or resets the board for it, see `hang_stopper`
    watchdog.polled = False  # by the application itself
    # Turns.
    watchdog.watch = False  # whether there have to be any
    watchdog.last_ms = watchdog.patience_ms = 0  # in ticks, of the last one; so much longer is none
    watchdog.ticked_ms = 0  # in ticks, when the ticker ticked last
    watchdog.stalled_ms = 0  # the longest time in which it did not, since the last turn
    watchdog.pause = 0  # so long without a turn is a sleep, while one was announced
    watchdog.subject = None  # what hangs, "" for somebody without a name
    watchdog.longest = 0  # for how long it has hung, in ms
    # The ticker.
    watchdog.timer = None  # a Runner with a timer; False: it is a thread
    watchdog.generation = 0  # of its threads
    return watchdog


def launch(watchdog, hang_ms, action, hardware_ms, critical_ms, restarts, polled):
    """Set what `watchdog()` was given, and begin to watch."""
    agent = get_runner().agent
    board = agent.board
    if watchdog.crashes.main is None and (action != "tell" or hardware_ms is not None):
        raise RuntimeError("only inside warden.run()")
    if action == "reset" and board.reset is None:
        raise ValueError("action: this port cannot reset itself")
    core = imported_asyncio()
    if core is not None:
        # Imported late, it has no task of the agent's before the timer's next call: too late, where
        # the loop sleeps first, for longer than hang_ms.
        Runner.current.revive_tasks()
    duties = watchdog.duties
    watchdog.polled = polled or Runner.current.timer is None
    watchdog.watch = True
    watchdog.patience_ms = 0
    if not watchdog.polled and (core is None or core.cur_task is None):
        watchdog.patience_ms = _UNSTARTED_MS  # the event loop may still begin
        if duties is not None and any(duties.rows):
            watchdog.watch = False
        elif core is None:
            raise RuntimeError("a Timer runs the agent: warden.checkin() first, or polled=True")
    wait_ms = hang_ms
    if hardware_ms is not None:
        with import_lock:
            from warden.duties_setup import protect
        duties = protect(watchdog, board, hardware_ms, critical_ms)
    no_hardware = _NO_WATCHDOG  # a reason, 0 if it is on
    if duties is not None and duties.feed is not None:
        no_hardware = 0
        wait_ms = min(hang_ms, duties.hardware_ms)
    no_line = _NO_WATCHDOG  # why a blocked line cannot be found, a reason
    if action == "tell":
        if watchdog.action is not None:
            sys.modules["warden"].__getattr__ = watchdog.action.load
        watchdog.action = None
    else:
        with import_lock:
            from warden.stop_setup import hook
        settings = (hang_ms, action, hardware_ms, critical_ms, restarts, polled)
        no_line = hook(watchdog, settings)
    watchdog.hang_ms = hang_ms
    must_start = watchdog.timer is None or watchdog.wait_ms != wait_ms // 4
    watchdog.wait_ms = wait_ms // 4
    attach(watchdog, agent)
    reasons = agent.reasons
    reasons[_CAN_HANG] = start_timer(watchdog) if must_start else 0
    reasons[_CAN_LINE] = no_line
    reasons[_CAN_HARDWARE] = no_hardware
    if agent.session is not None:
        agent.session.hello_dirty = True
    agent.clock.poll_now = True


def attach(watchdog, agent):
    """Watch an agent's turns from now on."""
    if agent is not watchdog.agent:
        watchdog.agent = agent
        watchdog.owner = runner = Runner.current
        agent.poll = watchdog.poll
        runner.stop = watchdog.close
        if agent.policy is not None:
            operations = agent.policy.operations
            watchdog.in_threads = bytearray(len(operations.rows))  # 1: that row is a thread's
            operations.begin = watchdog.admit
            operations.end = watchdog.complete
    watchdog.begin()


def start_timer(watchdog):
    """Start the ticker; return 0, or the reason why there is none."""
    watchdog.stop()
    period_ms = max(_MIN_TICK_MS, min(_MAX_TICK_MS, watchdog.wait_ms // 2))
    machine = module("machine")
    if hasattr(machine, "Timer"):
        ticker = Runner()  # of the watchdog, instead of the agent
        ticker.is_scheduled = False
        ticker.schedule = schedule
        ticker.scheduled_poll = watchdog.run_due
        try:
            ticker.timer = timer = machine.Timer(-1)
            timer.init(period=period_ms, mode=timer.PERIODIC, callback=ticker.on_timer)
            watchdog.timer = ticker
            return 0
        except ValueError:  # this port has no virtual timers
            pass
    start = getattr(watchdog.agent.threads, "start", None)
    if start is None:
        return _NO_TICKER
    stack_size = module("_thread").stack_size
    before = stack_size(_STACK_BYTES)
    watchdog.start(start, period_ms)
    stack_size(before)
    watchdog.timer = False
    return 0
