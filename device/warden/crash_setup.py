"""Joins what keeps exceptions and resets with an agent, and begins a safe boot.

Loaded for so long as that takes, and then let go.
"""

import sys

from micropython import const

from warden.blackbox import BlackBox
from warden.board import Board
from warden.last_boot import LastBoot
from warden.runner import Runner
from warden.sensors.threads import new_lock
from warden.wear import wear

_EXCEPTION = const(18)  # kinds of messages
_RESTART = const(19)
_MAX_RESETS = const(10)
_MAX_EXCEPTIONS = const(5)
_BOOTS = const(6)  # a place in ids.IDENTITY
_CALLBACK = const(2)  # of ids.EXCEPTION_KINDS
_BAD_BOOTS = const(3)  # in a row: then the next one is a safe one
_MAX_RETRY_MS = const(3_600_000)
_POLL_MS = const(20)
_GOOD_S = const(180)  # that the application runs: then a boot is a good one
_NAME = const(21)  # parts of the record, as in `blackbox`
_TRACEBACK = const(42)
_RUNNING = const(0)  # a state of it


def assemble(crashes, board):
    """Make the parts of a Crashes, and its black box, which reads what the last boot left."""
    crashes.agent = crashes.table = None
    crashes.must_wait = False  # in safe mode, until a host wants the application to be tried
    crashes.watchdog = None  # the `TaskWatchdog`, once the application uses it
    crashes.main = None  # what run() runs
    crashes.report = None  # posts an event: the agent's own `Events.report`
    crashes.lock = new_lock()
    crashes.rows = [None] * _MAX_EXCEPTIONS
    crashes.next_id = 1
    crashes.black_box = make_box(board, crashes)


def make_box(board, crashes):
    """Return a new BlackBox, with what the last boot left."""
    box = BlackBox()
    # What each sample needs comes first: the last attributes of an object take longest to find.
    box.buf = box.add_to_history = box.events = None
    box.seq = -1  # of the next event, when the record had it last
    box.streak = 0  # of bad boots in a row
    box.copy = None  # puts the record where it survives, if it is not made there
    box.board = board
    box.crashes = crashes
    box.agent = None
    box.facts = {"crash_free_s": 0}  # the board's, in the status
    box.began_ms = board.ticks_ms()
    box.entries = []
    box.good_s = _GOOD_S  # from this uptime on the boot is a good one
    box.retry_s = 0  # the uptime at which to write what the budget did not allow; 0: nothing
    box.crash_free_s = 0  # of boots before this one, since one ended that should not have
    box.writes = 0  # of the file
    box.who = None
    box.culprit = None  # what goes before the running operation
    box.state = box.running = _RUNNING  # running: what it is while the application runs
    box.is_safe = False
    box.boots = box.count = 0  # count: how often the last entry came
    LastBoot(box).note()
    box.name_format = "%ds" % (min(len(box.buf), _TRACEBACK) - _NAME)
    return box


def attach(crashes, agent):
    """Have a Crashes keep what an agent reports, and a host see it."""
    box = crashes.black_box
    attach_box(box, agent)
    agent.load.report = agent.threads.report = keep = crashes.keep
    if agent.policy is None:
        return
    from warden.tables import Table

    events = agent.policy.events
    crashes.report = events.report
    if box.is_safe:
        agent.leave_safe_mode = crashes.leave_safe_mode
        events.post("safe", None, "waiting", box.streak)
    events.report = keep
    fields = ("id", "kind", "name", "count", "uptime_s", "text")
    crashes.table = Table(agent.clock, _EXCEPTION, fields, _MAX_EXCEPTIONS)
    crashes.table.rows = crashes.rows
    if agent.session is not None:
        resets = Table(agent.clock, _RESTART, (), _MAX_RESETS)
        resets.rows[: len(box.entries)] = box.entries
        resets.encode = crashes.encode_reset
        agent.session.tables += [crashes.table, resets]
        for table in (crashes.table, resets):  # a host may be there already
            table.subscribe()
        agent.session.hello_dirty = agent.clock.rows_dirty = True


def attach_box(box, agent):
    """Keep the record up to date with each sample of an agent, and write it before a reset."""
    box.agent = agent
    box.add_to_history = agent.history.add
    agent.history.add = box.update  # which the agent calls with each sample
    if agent.policy is not None:
        box.events = agent.policy.events
    box.board = board = agent.board
    board.identity = board.identity[:_BOOTS] + (box.boots, box.crash_free_s)
    box.facts = board.facts
    box.facts["boots"] = box.boots
    box.facts["crash_free_s"] = box.crash_free_s
    wear.join(agent.storage)
    box.write_note = board.save_note
    board.save_note = box.save_note


def begin(crashes, bring_up, retry_s):
    """Start the agent, if it does not run, over the link that a function of the application gives.

    In a safe boot run it until the application is to be tried again, or a host asks for that.
    """
    link = None
    if Runner.current is None:
        if bring_up is not None:
            try:
                link = bring_up()
            except Exception as error:  # then there is the serial line
                crashes.keep(error, _CALLBACK, None)
        sys.modules["warden"].start(link=link)
    box = crashes.black_box
    if not box.is_safe:
        return
    wait_ms = retry_s * 1000
    for _ in range(_BAD_BOOTS, box.streak):
        wait_ms = min(wait_ms * 2, _MAX_RETRY_MS)
    crashes.must_wait = True
    board = box.board
    began = board.ticks_ms()
    while crashes.must_wait and board.ticks_diff(board.ticks_ms(), began) < wait_ms:
        board.sleep_ms(min(sys.modules["warden"].poll(), _POLL_MS))
    box.good_s = box.uptime_s() + _GOOD_S
    box.is_safe = Board.is_safe = False
    crashes.agent.leave_safe_mode = None
