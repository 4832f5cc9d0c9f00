"""Makes what keeps exceptions and resets, joins it with an agent, and begins the application's run.

Loaded for so long as that takes, and then let go.
"""

import builtins
import sys

from micropython import const

from warden.board import Board
from warden.checks import check_int
from warden.crashes import Crashes
from warden.last_boot import LastBoot
from warden.runner import Runner
from warden.sensors.threads import import_lock, new_lock
from warden.wear import wear

_EXCEPTION = const(18)  # a kind of message
_MAX_KEPT = const(15)  # five exceptions and ten resets
_MAX_ITEM = const(200)  # bytes in the file
_BOOTS = const(6)  # a place in ids.IDENTITY
_CALLBACK = const(2)  # of ids.EXCEPTION_KINDS
_BAD_BOOTS = const(3)  # in a row: then the next one is a safe one
_MAX_RETRY_MS = const(3_600_000)
_POLL_MS = const(20)
_GOOD_S = const(180)  # that the application runs: then a boot is a good one
_RUNNING = const(0)  # a state of the record, as in `crashes`


def install():
    """Return the Crashes of this board, made at the first call, and joined with its agent."""
    crashes = Crashes.current
    runner = Runner.current
    if crashes is None:
        if runner is None:
            with import_lock:
                from warden.detect import detect
            board = detect()
        else:
            board = runner.agent.board
        board.collect()  # as in `setup.make_agent`
        Board.crashes = Crashes.current = crashes = make_crashes(board)
    if runner is not None and runner.agent is not crashes.agent:
        runner.agent.board.collect()
        attach(crashes, runner.agent)
    with import_lock:  # which another thread's import changes the same tables with
        for name in ("last_boot", "values"):  # modules that are not needed again
            sys.modules.pop("warden." + name, None)
            sys.modules["warden"].__dict__.pop(name, None)
    return crashes


def make_crashes(board):
    """Return a new Crashes, with what the last boot left."""
    crashes = Crashes()
    # What each sample needs comes first: the last attributes of an object take longest to find.
    crashes.buf = crashes.add = crashes.events = None  # add: the history's
    crashes.seq = -1  # of the next event, when the record had it last
    crashes.bad = 0  # of bad boots in a row
    crashes.copy = None  # puts the record where it survives, if it is not made there
    crashes.board = board
    crashes.deadline_s = 0  # when to write what the budget did not allow; 0: nothing
    crashes.end_s = _GOOD_S  # from this uptime on the boot is a good one
    crashes.live_s = 0  # uptime of boots before this one, since one ended that should not have
    crashes.agent = crashes.table = None
    crashes.watchdog = None  # the `TaskWatchdog`, once the application uses it
    crashes.main = None  # what run() runs
    crashes.lock = new_lock()
    crashes.text = bytearray(_MAX_ITEM)  # of the traceback that is printed,
    crashes.length = crashes.left = 0  # which has so many bytes; left: of a line, see `write()`
    crashes.in_frame = crashes.early = False
    crashes.reserve = bytearray(crashes.room)
    crashes.file_room = None  # file_bytes: what an open file takes, for it
    crashes.file_bytes = 0
    crashes.lasting = (0, 0)  # callbacks, and functions of `on_trim()`, that were set before main
    crashes.rows = [None] * _MAX_KEPT
    crashes.next_id = 1
    crashes.start_ms = board.ticks_ms()
    crashes.subject = None  # what goes before the running operation: who hangs, say
    crashes.state = crashes.running = _RUNNING  # running: what it is while the application runs
    crashes.is_safe = False
    crashes.boots = crashes.count = 0  # count: how often the last entry came
    crashes.format = ""
    LastBoot(crashes).advance()
    return crashes


def attach(crashes, agent):
    """Have a Crashes keep what an agent reports, bring its record up to date, and a host see it."""
    crashes.agent = agent
    crashes.lock = new_lock()  # which that agent's timer heeds
    crashes.add = agent.history.add
    agent.history.add = crashes.update  # which the agent calls with each sample
    crashes.board = board = agent.board
    board.identity = board.identity[:_BOOTS] + (crashes.boots, crashes.live_s)
    board.facts["boots"] = crashes.boots
    board.facts["crash_free_s"] = crashes.live_s
    wear.join(agent.storage)
    crashes.deadline_s = min(crashes.deadline_s, wear.deadline_s)
    board.save_note = crashes.save_note
    agent.load.report = agent.threads.report = keep = crashes.keep
    if agent.policy is None:
        crashes.events = crashes.table = None  # those of an agent before
        return
    from warden.tables import Table

    crashes.events = events = agent.policy.events
    events.report = keep
    crashes.table = table = Table(agent.clock, _EXCEPTION, (), _MAX_KEPT)
    table.rows = crashes.rows
    table.encode = crashes.encode
    if agent.session is not None:
        agent.session.tables.append(table)
        for place in range(_MAX_KEPT):
            if crashes.rows[place] is not None:
                table.mark_dirty(place)  # a host may be there already
        agent.session.hello_dirty = True


def begin(main, link, retry_s):
    """Return this board's Crashes, after a start of the agent over the link that link() gives.

    And the function that runs main, see `warden.run`, with its arguments.

    It is not started where it runs, or where it is not needed: without link, in a boot that is not
    safe. In one that is safe, main then starts its own, with what it gives `warden.start()`.
    """
    call = find_row(main)
    if not (link is None or callable(link)):
        raise TypeError("link must be a function, which returns a link")
    check_int("retry_s", retry_s, 0, _MAX_RETRY_MS // 1000)
    crashes = install()
    starts = Runner.current is None and (crashes.is_safe or link is not None)
    for_safety = starts and link is None
    if starts:
        if link is not None:
            try:
                link = link()
            except Exception as error:  # then there is the serial line
                link = None
                crashes.keep(error, _CALLBACK, None)
        sys.modules["warden"].start(link=link)
    runner = Runner.current
    if runner is not None and runner.agent.policy is not None:
        policy = runner.agent.policy
        functions = policy.pressure.functions
        lasting = len(policy.events.callbacks), len(functions) - functions.count(None)
        crashes.lasting = lasting
    if crashes.is_safe:
        pause(crashes, retry_s)
        if for_safety:
            sys.modules["warden"].stop()
            crashes.end_s = _GOOD_S  # of the uptime, which begins anew
    crashes.main = main  # not before: Ctrl-C may end that
    return (crashes,) + call


def find_row(main):
    """Return (function, arguments) that run an application; TypeError for what is none."""
    if isinstance(main, str):
        names = __import__("__main__").__dict__
        if not main.endswith(".py"):
            return __import__, (main,)
        if hasattr(builtins, "execfile"):
            return builtins.execfile, (main, names)
        try:
            with open(main) as file:  # esp8266; a traceback then has no file's name
                return exec, (file.read(), names)
        except OSError:
            return open, (main,)  # which raises it where it is kept
    if callable(main):
        return main, ()
    if hasattr(main, "throw"):
        return __import__("asyncio").run, (main,)
    raise TypeError("main must be a function, a coroutine or a name")


def pause(crashes, retry_s):
    """Run the agent until the application is to be tried again, or a host asks for that."""
    waits = [True]
    agent = crashes.agent
    agent.leave_safe_mode = waits.clear
    if agent.policy is not None:
        agent.policy.events.post("safe", None, "waiting", crashes.bad)
    wait_ms = retry_s * 1000
    for _ in range(_BAD_BOOTS, crashes.bad):
        wait_ms = min(wait_ms * 2, _MAX_RETRY_MS)
    board = crashes.board
    began = board.ticks_ms()
    while waits and board.ticks_diff(board.ticks_ms(), began) < wait_ms:
        board.sleep_ms(min(sys.modules["warden"].poll(), _POLL_MS))
    crashes.end_s = crashes.uptime_s() + _GOOD_S
    crashes.is_safe = False
    agent.leave_safe_mode = None
