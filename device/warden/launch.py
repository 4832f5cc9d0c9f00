"""Makes the one agent of this board; with `warden.setup`, which `start()` lets go when it ends."""

import os
import sys

from micropython import const

from warden.board import module
from warden.detect import detect
from warden.runner import Runner
from warden.sensors.threads import get_ident, import_lock
from warden.setup import make_agent

_NEVER_S = const(0x3FFFFFFF)  # it is measured only when that is asked for
_LATER = const(29)  # modules and `run`, which a test counts
_PCS = const(("linux", "darwin"))
_SLOW_STORAGE = const("warden.slow")  # a file, see `warden.extras.note_slow`


def launch(interval_ms, budget_permille, limits, link, storage, steps):
    """Make the agent and its Runner; see `warden.start()`. limits: None only watches."""
    with import_lock:
        if Runner.current is not None:  # another thread was first
            return
        board = detect()
        link = open_link(board, link)
        try:
            os.stat(_SLOW_STORAGE)
            storage = False  # it took longer than 20 ms once
        except (AttributeError, OSError):  # it did not, or nothing is mounted
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
    package = sys.modules["warden"]
    if limits is not None:
        runner.spare_status = agent.fill_status({}, True)
        with import_lock:
            from warden.policy.publish import install
        install(package, agent)
    make_room(package, agent)
    if board.crashes is not None:
        with import_lock:
            from warden.crash_setup import install
        install()


def open_link(board, link):
    """Return the link that `start(link=link)` means, or None; opened, if it has to be.

    Not before: an application that is run again makes another one, which no start() takes.
    """
    if link is None:
        return default_link(board)
    if link is False:
        return None
    if hasattr(link, "waitable"):
        if hasattr(link, "open"):
            link.open()
        return link
    if not hasattr(link, "write"):
        raise TypeError("link must be a stream, or what warden.TcpServer() and the like return")
    from warden.link.stream import StreamLink

    return StreamLink(link)


def default_link(board):
    """Return the link over stdin and stdout, or None where they cannot be polled."""
    if hasattr(board, "default_link"):
        return board.default_link()
    if module("select") is None or not hasattr(sys.stdout, "buffer"):
        return None
    if sys.platform == "linux" and module("termios") is not None:
        from warden.link.terminal import TerminalLink

        return TerminalLink(sys.stdin.buffer, sys.stdout.buffer)
    from warden.link.stream import StreamLink

    return StreamLink(sys.stdin.buffer, sys.stdout.buffer)


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
    runner.seen = 0  # times in a row that the timer found something to read
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
    for name in ("detect", "setup", "policy_setup", "extras", "mqtt_setup"):
        sys.modules.pop("warden." + name, None)
    names = module.__dict__
    parts = (
        "stand_in detect setup policy_setup decide errors loops_viper heap_viper wlan system_heap "
        "lock host_session terminal extras mqtt_setup mqtt mqtt_as"
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
