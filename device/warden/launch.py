"""Makes the one agent of this board; with `warden.setup`, which `start()` lets go when it ends."""

import os
import sys

from micropython import const

from warden.agent import Agent
from warden.runner import Runner
from warden.sensors.threads import import_lock
from warden.setup import detect, open_link

_NEVER_S = const(0x3FFFFFFF)  # it is measured only when that is asked for
_SLOW_STORAGE = const("warden.slow")  # a file, see `warden.extras.note_slow`


def launch(interval_ms, budget_permille, limits, link, storage, steps):
    """Make the agent and its Runner; see `warden.start()`. limits: None only watches."""
    with import_lock:
        board = detect()
        link = open_link(board, link)
        storage = storage and may_scan()
        agent = Agent(board, interval_ms, budget_permille, link, limits, storage, steps)
        if storage and agent.storage.deadline_s == _NEVER_S:
            from warden.extras import note_slow

            note_slow(agent, True)
    Runner.current = runner = Runner(agent)
    package = sys.modules["warden"]
    if limits is not None:
        runner.spare_status = agent.fill_status({}, True)
        with import_lock:
            from warden.policy.publish import install
        install(package, agent)
    reserve_names(package)
    if board.crashes is not None:
        board.crashes.attach(agent)


def may_scan():
    """Tell whether storage may be measured at the start: it took no longer than 20 ms so far."""
    try:
        return _SLOW_STORAGE not in os.listdir()
    except (AttributeError, OSError):  # nothing is mounted
        return True


def reserve_names(package):
    """Let this module go; give each that is loaded at its first use its name in the package.

    Without a GIL the names must not move then: another thread may be looking one up.
    """
    for name in ("setup", "policy_setup"):
        if sys.modules.pop("warden." + name, None) is not None:
            delattr(package, name)
    # A test checks that none is missing.
    lazy = (
        "budgets counted_socket crashes errors extras forecast guard hang_stopper hosts keys "
        "last_boot memory_profile metered_file public requests retained stored_policy "
        "task_watchdog tcp trend_report values watchdog_setup wear"
    )
    for name in lazy.split():
        if name not in package.__dict__:
            setattr(package, name, None)
