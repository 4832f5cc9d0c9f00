"""Joins what keeps exceptions and resets with an agent, and begins a safe boot.

Loaded for so long as that takes, and then let go.
"""

import sys

from micropython import const

from warden.board import Board
from warden.runner import Runner
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
_GOOD_S = const(180)  # that the application runs, as in `blackbox`


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
