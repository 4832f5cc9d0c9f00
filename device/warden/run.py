"""Three ways to run the agent: a task of asyncio, a timer, or the application's own loop.

The timer starts where the port has one and ends when asyncio takes over; `warden.poll()` works
with and without either.
"""

import sys

from micropython import const

_TIMER_MS = const(100)
_SOON_MS = const(2)


class Runner:
    """Runs an agent until `stop()`."""

    def __init__(self, agent):
        self.agent = agent
        self._running = True
        self._timer = None
        self._tasks = ()
        self._scheduled = False

    def start(self):
        """Run by asyncio if the application has imported it, else by a timer if there is one."""
        if "asyncio.core" in sys.modules:
            self._start_tasks()
        self._start_timer()

    def stop(self):
        """Run no more."""
        self._running = False
        self._stop_timer()
        for task in self._tasks:
            try:
                task.cancel()
            except RuntimeError:  # it is the caller itself
                pass
        self._tasks = ()

    def poll(self):
        """Do what is due, once; return the milliseconds until there is more."""
        return self.agent.turn(True)

    # --- asyncio --------------------------------------------------------------------------------

    def _start_tasks(self):
        load = self.agent.load
        load.attach()
        tasks = [load.uncounted_create_task(self._tick())]
        if self.agent.link is not None:
            tasks.append(load.uncounted_create_task(self._listen()))
        self._tasks = tasks

    async def _tick(self):
        from asyncio import sleep_ms

        self._stop_timer()  # the loop runs
        self.agent.load.enter_loop()
        while self._running:
            # It listens too: what the other task waits on may be the connection of a dead host.
            await sleep_ms(max(1, self.agent.turn(True)))

    async def _listen(self):
        from asyncio import core, sleep_ms

        link = self.agent.link
        while self._running:
            source = link.waitable
            if source is None:
                await sleep_ms(500)
            else:
                await _readable(core, source)
            # What a host asked for may take several turns to tell; the other task may sleep long.
            while self.agent.turn(True) <= _SOON_MS and self._running:
                await sleep_ms(_SOON_MS)

    # --- machine.Timer --------------------------------------------------------------------------

    def _start_timer(self):
        try:
            from machine import Timer
            from micropython import schedule

            timer = Timer(-1)
        except (ImportError, ValueError):  # none, or none that is virtual
            return
        scheduled = self._run_scheduled

        def fire(_timer):
            if not self._scheduled:
                self._scheduled = True
                try:
                    schedule(scheduled, 0)
                except RuntimeError:  # the queue is full; at the next time
                    self._scheduled = False

        timer.init(period=_TIMER_MS, mode=Timer.PERIODIC, callback=fire)
        self._timer = timer
        self.agent.capabilities.timer(True)

    def _run_scheduled(self, _):
        self._scheduled = False
        # It runs inside whatever the main thread does: see Locks.
        if self._running and not self.agent.locks.held():
            self.poll()

    def _stop_timer(self):
        if self._timer is not None:
            self._timer.deinit()
            self._timer = None


def _readable(core, stream):
    """Wait until the stream has something to read, or has ended; to be awaited."""
    yield core._io_queue.queue_read(stream)
