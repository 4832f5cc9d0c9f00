"""`with warden.sleeping():` the board sleeps, or blocks for long, as the application wants it to.

That is neither load, nor lag, nor a hang; no host is given up for it, and a host is told first.
Loaded at its first use.
"""

from micropython import const

from warden.running import get_runner
from warden.sensors.threads import get_ident

_ASLEEP = const(20)  # a kind of message
_MAX_ASLEEP_MS = const(800_000)  # of which there is a figure in µs
_MAX_LOOP_IDLE_US = const(900_000_000)
_FLUSH_MS = const(2)  # for a frame of ten bytes to leave
_UNSTARTED_MS = const(30_000)  # the patience with tasks that have not run yet, as in `runner`


def sleeping():
    """Return a context manager for `machine.lightsleep()`, or whatever blocks for long.

    Such a time is no load and no lag, and a host shows the board as asleep instead of lost.
    """
    return Sleeping()


class Sleeping:
    """A context manager: inside it the processor sleeps, or waits for something.

    In a thread that runs no event loop it does nothing: its sleep holds up nobody. Nor does one
    inside another, nor one in which a task awaits: the loop goes on then.
    """

    current = None  # the outermost that has begun

    def __enter__(self):
        """Do what is due, and tell the host."""
        runner = get_runner()
        agent = runner.agent
        thread = agent.load.thread
        if get_ident() != (runner.thread if thread is None else thread):
            return self
        outer = Sleeping.current
        if outer is not None and outer.agent is agent and not outer.has_awaited():
            return self
        self.agent = agent
        agent.poll()
        session = agent.session
        if session is not None and session.host_id and agent.gate.acquire(0):
            try:
                session.uplink.begin(_ASLEEP, 0)
                session.uplink.send(0)
            finally:
                agent.gate.releases[1]()
            agent.board.sleep_ms(_FLUSH_MS)
        self.polled_ms = agent.load.polled_ms
        self.idle_us = agent.load.idle_us
        self.began_ms = agent.ticks_ms()
        self.watchdog = getattr(getattr(agent.board, "crashes", None), "watchdog", None)
        if self.watchdog is not None:
            self.watchdog.pause = _MAX_ASLEEP_MS
        Sleeping.current = self
        return self

    def has_awaited(self):
        """Tell whether the event loop has gone on since it began: something awaits inside it.

        A timer that polls the agent is none: a sample sets idle_us to 0, and new tasks polled_ms.
        """
        load = self.agent.load
        if load.idle_us > self.idle_us:
            return True
        return load.polled_ms != self.polled_ms and load.patience_ms != _UNSTARTED_MS

    def __exit__(self, kind, error, trace):
        """Count the time as idle, and go on as if none had passed since the last poll."""
        if Sleeping.current is not self:
            return False
        Sleeping.current = None
        agent = self.agent
        if self.watchdog is not None:
            self.watchdog.pause = 0
        if self.has_awaited():
            return False
        now = agent.ticks_ms()
        ms = min(agent.ticks_diff(now, self.began_ms), _MAX_ASLEEP_MS)
        us = max(0, ms - 1) * 1000  # no more than it was; µs ticks may have wrapped
        load = agent.load
        load.idle_us = min(load.idle_us + us, _MAX_LOOP_IDLE_US)
        load.asleep_us += us
        if load.core is not None:
            coro = getattr(load.core.cur_task, "coro", None)
            if hasattr(coro, "spent_us"):  # a metered task
                coro.spent_us -= us
        clock = agent.clock
        clock.advance()
        if clock.until_ms(agent.deadline_s, agent.deadline_ms) < 0:
            agent.deadline_s = clock.s
            agent.deadline_ms = clock.ms
        if agent.session is not None and agent.session.host_id:
            agent.session.renew()  # it could not be heard
        clock.poll_now = True
        agent.polled_ms = load.polled_ms = now
        if self.watchdog is not None:
            self.watchdog.relax(now, ms)
        return False
