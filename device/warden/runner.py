"""Who runs the agent: a task of asyncio, a timer, or the application's own loop.

None of them is trusted to go on: an event loop ends or is replaced, Ctrl-C ends the agent's own
task. So every public call looks whether something is overdue, runs it, and makes anew what is gone.
"""

import sys

from micropython import const

_TIMER_MS = const(100)
_MAX_SLEEP_MS = const(250)  # so that what the application begins meanwhile ends in time
_SOON_MS = const(2)
_OVERDUE_MS = const(500)  # an application may hold up its loop for so long


class Runner:
    """Runs an agent until `stop()`."""

    def __init__(self, agent):
        self.agent = agent
        self._running = True
        self._thread = agent.threads.ident()  # asyncio is not for other threads
        self._task_queue = None  # of the event loop that has the tasks
        self._tasks = [None, None]
        self._alive = [False, False]  # whether the tasks are; asyncio does not say so after Ctrl-C
        self._timer = None
        self._scheduled = False
        self._scheduled_poll = self._run_scheduled
        agent.load.on_create = self._revive_tasks  # asyncio.run() in a new event loop, say

    def start(self):
        """Run by asyncio if the application has imported it, else by a timer if there is one.

        What is running already is left alone.
        """
        core = sys.modules.get("asyncio.core")
        if core is None:
            self._start_timer()
            return
        if core._task_queue is not self._task_queue:  # asyncio.new_event_loop()
            self._task_queue = core._task_queue
            self._alive[0] = self._alive[1] = False
        if not self._alive[0]:
            self._start_task(0, self._poll_in_time())
            self._start_timer()  # until the loop runs
        if not self._alive[1] and self.agent.link is not None:
            self._start_task(1, self._poll_when_readable())

    def is_running(self):
        """Tell whether a task or a timer runs the agent, as far as one can see."""
        core = sys.modules.get("asyncio.core")
        if self._timer is not None and core is None:
            return True
        return core is not None and self._alive[0] and core._task_queue is self._task_queue

    def revive(self):
        """Run what is overdue, and make anew what should have; return whether it had to."""
        agent = self.agent
        board = agent.board
        if board.ticks_diff(board.ticks_ms(), agent.polled) < agent.rest_ms + _OVERDUE_MS:
            return False
        if self._thread == self.agent.threads.ident():
            self.start()
        agent.poll()
        return True

    def _revive_tasks(self):
        """Make the tasks anew where they are gone: the application starts one of its own."""
        if self._running and not self.is_running() and self._thread == self.agent.threads.ident():
            self.start()

    def stop(self):
        """Run no more."""
        self._running = False
        self.agent.load.on_create = None
        self._stop_timer()
        for place in range(2):
            task = self._tasks[place]
            self._tasks[place] = None
            if task is not None and self._alive[place]:
                try:
                    task.cancel()
                except RuntimeError:  # it is the caller itself
                    pass

    # --- asyncio --------------------------------------------------------------------------------

    def _start_task(self, place, coro):
        load = self.agent.load
        load.attach()
        self._alive[place] = True
        self._tasks[place] = load.uncounted_create_task(self._watched(place, coro))

    async def _watched(self, place, coro):
        """Run a task's coroutine, and note when it ends, whatever ends it."""
        queue = self._task_queue
        try:
            await coro
        finally:
            if queue is self._task_queue:
                self._alive[place] = False
                if place == 0 and self._running:  # Ctrl-C
                    self._start_timer()

    async def _poll_in_time(self):
        from asyncio import sleep_ms

        self._stop_timer()  # the loop runs
        self.agent.load.enter_loop()
        while self._running:
            # It listens too: what the other task waits on may be the connection of a dead host.
            await sleep_ms(min(max(1, self.agent.poll()), _MAX_SLEEP_MS))

    async def _poll_when_readable(self):
        from asyncio import core, sleep_ms

        link = self.agent.link
        while self._running:
            source = link.waitable
            if source is None:
                await sleep_ms(_MAX_SLEEP_MS)
            else:
                await _until_readable(core, source)
            # What a host asked for may take several turns to send; while it has had its share,
            # its bytes stay where they are.
            left = self.agent.poll()
            while left <= _SOON_MS and self._running:
                await sleep_ms(_SOON_MS)
                left = self.agent.poll()
            if self.agent.listen_ms:
                await sleep_ms(min(left, _MAX_SLEEP_MS))

    # --- machine.Timer --------------------------------------------------------------------------

    def _start_timer(self):
        if self._timer is not None:
            return
        try:
            from machine import Timer
            from micropython import schedule

            timer = Timer(-1)
        except (ImportError, ValueError):  # none, or none that is virtual
            return

        def fire(_timer):
            if not self._scheduled:
                self._scheduled = True
                try:
                    schedule(self._scheduled_poll, 0)
                except RuntimeError:  # the queue is full; at the next time
                    self._scheduled = False

        timer.init(period=_TIMER_MS, mode=Timer.PERIODIC, callback=fire)
        self._timer = timer
        self.agent.capabilities.has_timer = True

    def _run_scheduled(self, _):
        """Poll, inside whatever the main thread does: which may hold a lock."""
        self._scheduled = False
        if self._running and not self.agent.threads.any_lock_held():
            if "asyncio.core" in sys.modules and not self._alive[0]:
                self.start()  # asyncio was imported late
            self.agent.poll()

    def _stop_timer(self):
        if self._timer is not None:
            self._timer.deinit()
            self._timer = None


def _until_readable(core, stream):
    """Wait until the stream has something to read, or has ended; to be awaited."""
    yield core._io_queue.queue_read(stream)
