"""Makes the one agent of this board; with `warden.setup`, which `start()` lets go when it ends."""

import os
import sys

from micropython import const

from warden.runner import Runner
from warden.sensors.threads import get_ident, import_lock
from warden.setup import detect, make_agent, open_link

_NEVER_S = const(0x3FFFFFFF)  # it is measured only when that is asked for
_LATER = const(27)  # modules and `run`, which a test counts
_PCS = const(("linux", "darwin"))
_SLOW_STORAGE = const("warden.slow")  # a file, see `warden.extras.note_slow`


def launch(interval_ms, budget_permille, limits, link, storage, steps):
    """Make the agent and its Runner; see `warden.start()`. limits: None only watches."""
    with import_lock:
        board = detect()
        link = open_link(board, link)
        try:  # not where it took longer than 20 ms once
            storage = storage and _SLOW_STORAGE not in os.listdir()
        except (AttributeError, OSError):  # nothing is mounted
            pass
        try:
            agent = make_agent(board, interval_ms, budget_permille, link, limits, storage, steps)
        except BaseException:
            if link is not None:  # its port is there for the next start
                link.close()
            raise
        if storage and agent.storage.deadline_s == _NEVER_S:
            if sys.platform in _PCS and not agent.storage.scan():
                agent.storage.deadline_s = 0  # it was another program that took the time
            else:
                from warden.extras import note_slow

                note_slow(agent, True)
    Runner.current = runner = make_runner(agent)
    module = sys.modules["warden"]
    if limits is not None:
        runner.spare_status = agent.fill_status({}, True)
        with import_lock:
            from warden.policy.publish import install
        install(module, agent)
    make_room(module, agent)
    if board.crashes is not None:
        with import_lock:
            from warden.crash_setup import install
        install()


def make_runner(agent):
    """Return a Runner of an agent, which does not run it yet."""
    runner = Runner()
    runner.agent = agent
    runner.thread = get_ident()  # asyncio is not for other threads
    runner.generation = 0  # of the tasks: older ones end when they find that they are
    runner.tasks = []
    runner.load = agent.load
    runner.timer = None
    runner.is_scheduled = False
    runner.has_waited = False  # something to read, when the timer polled last
    runner.schedule = None  # micropython's
    runner.scheduled_poll = runner.callback
    runner.spare_status = None  # for status() when there is no memory for another
    agent.load.on_create = runner.revive_tasks  # asyncio.run() in a new event loop, say
    return runner


def make_room(module, agent):
    """Let this module go; have the package's table of names hold those of what is loaded later.

    Without a GIL the names must not move then: another thread may be looking one up. Names that are
    there already are put in and taken out again.
    """
    for name in ("setup", "policy_setup"):
        sys.modules.pop("warden." + name, None)
    names = module.__dict__
    parts = (
        "stand_in setup policy_setup decide errors loops_viper heap_viper wlan system_heap lock "
        "terminal public mqtt_setup mqtt mqtt_as"
    )
    for name in parts.split():
        if name in names:  # which nobody looks up there
            del names[name]
    made = [
        name for name in tuple(agent.__dict__) + tuple(agent.memory.__dict__) if name not in names
    ]
    for name in made[:_LATER]:
        names[name] = None
    for name in made[:_LATER]:
        del names[name]
