"""Runs the agent: by a task of asyncio, a timer, or the application's own loop.

None of them is trusted to go on: an event loop ends or is replaced, Ctrl-C ends the agent's own
task or loses it. So every public call, and every new task of the application, checks whether
something is overdue, and makes anew what is gone.
"""

from micropython import const

from warden.sensors.load import imported_asyncio
from warden.sensors.threads import get_ident

_TICKS_MASK = const(0x3FFFFFFF)  # a port's ticks may have more bits
_TIMER_MS = const(100)
_MAX_SLEEP_MS = const(250)  # so that what the application begins meanwhile ends in time
_SOON_MS = const(2)
_OVERDUE_MS = const(500)  # an application may hold up its loop for so long
_UNSTARTED_MS = const(30_000)  # or not run it yet
# So often in a row the timer has to find that input waits before it is read: it may be a REPL's.
# The last times come one right after the other: bytes that stream into a REPL may wait at any tick,
# but in between it takes them all.
_LOOKS = const(8)  # of which two are ticks
_LOOKS_ALONE = const(16)  # with no host, ten: what is typed ahead while a line runs is the prompt's
_LOOKS_AT_ONCE = const(7)  # and the first of them is a tick


class Runner:
    """Runs an agent until `stop()`. current: the one of this board, None before `start()`.

    Made by `warden.launch.make_runner`, which lists what it has.
    """

    current = None

    def start(self):
        """Run the agent by asyncio if the application has imported it, else by a timer.

        What is running already is left alone.
        """
        core = imported_asyncio()
        if core is None:
            self.start_timer()
            return
        agent = self.agent
        load = self.load
        if core._task_queue is load.task_queue:
            polled_ms = load.polled_ms  # before the ticks, which then are later
            # Much, where ticks jumped back: asyncio sleeps until they are there.
            if agent.ticks_ms() - polled_ms & _TICKS_MASK < load.patience_ms:
                return
            self.cancel()  # one of them may be left
        elif agent.policy is not None:
            agent.policy.detach(core.cur_task)
        self.generation += 1
        load.task_queue = core._task_queue
        load.polled_ms = agent.ticks_ms()
        load.patience_ms = _UNSTARTED_MS
        load.attach()
        if core.cur_task is not None:  # it calls, and may begin operations before poll() runs
            load.thread = get_ident()
        create_task = load.uncounted_create_task
        self.tasks = [create_task(self.poll(self.generation))]
        if agent.link is not None:
            self.tasks.append(create_task(self.listen(self.generation)))
        self.start_timer()  # until the loop runs

    def revive_tasks(self):
        """Make the agent's tasks anew if they are gone; called at each task of the application."""
        if self.thread == get_ident():
            self.start()

    def revive(self):
        """If the agent is overdue, make its tasks anew and poll; return whether it was."""
        agent = self.agent
        polled_ms = agent.polled_ms  # before the ticks: another thread may be polling
        if agent.ticks_ms() - polled_ms & _TICKS_MASK < agent.rest_ms + _OVERDUE_MS:
            return False
        self.revive_tasks()
        agent.rows_first = self.timer is not None  # which reads the link, see callback()
        agent.poll()
        return True

    def stop(self):
        """Stop polling the agent: end its tasks and its timer."""
        self.generation = -1
        self.load.on_create = None
        self.stop_timer()
        self.cancel()

    def cancel(self):
        """Cancel the tasks; others may wait for the link then. No loop has to run for that."""
        core = self.load.core
        for task in self.tasks:
            try:
                if task.cancel() and core.cur_task is None:
                    core._task_queue.remove(task)  # else they stay there, with the agent
            except RuntimeError:  # it is the caller itself: it ends by its generation
                pass
        self.tasks = []

    # --- asyncio --------------------------------------------------------------------------------

    async def poll(self, generation):
        """Poll whenever something is due."""
        from asyncio import sleep_ms

        agent = self.agent
        self.stop_timer()  # the loop runs
        self.thread = self.load.thread = get_ident()  # it may not be the one that started this
        try:
            while generation == self.generation:
                # It listens too: what the other task waits on may be the connection of a dead host.
                left = min(max(1, agent.poll()), _MAX_SLEEP_MS)
                self.load.polled_ms = agent.ticks_ms()
                self.load.patience_ms = left + _OVERDUE_MS
                await sleep_ms(left)
        finally:
            self.end(generation)

    async def listen(self, generation):
        """Poll whenever something has arrived."""
        from asyncio import core, sleep_ms

        agent = self.agent
        link = agent.link
        try:
            while generation == self.generation:
                if link.waitable is None:
                    await sleep_ms(_MAX_SLEEP_MS)
                elif hasattr(link, "queue_read"):  # it has several
                    await link.queue_read(core)
                else:
                    await self.queue_read(core, link.waitable)
                # What a host requested may take several polls to send; while it has had its share,
                # its bytes stay where they are.
                left = agent.poll()
                while left <= _SOON_MS and generation == self.generation:
                    await sleep_ms(_SOON_MS)
                    left = agent.poll()
                if agent.listen_ms:
                    await sleep_ms(min(left, _MAX_SLEEP_MS))
        finally:
            self.end(generation)

    def queue_read(self, core, source):
        """Wait until a stream has something to read, or has ended; to be awaited."""
        yield core._io_queue.queue_read(source)

    def end(self, generation):
        """Note that one of the tasks has ended, by Ctrl-C in it, unless it was meant to."""
        load = self.load
        if generation == self.generation:
            load.patience_ms = -_UNSTARTED_MS
        else:
            load.tasks += 1  # which it was none of, as it ends

    # --- machine.Timer --------------------------------------------------------------------------

    def start_timer(self):
        """Start a machine.Timer that polls, where the port has virtual ones."""
        if self.timer is not None:
            return
        try:
            from machine import Timer
            from micropython import schedule

            timer = Timer(-1)
        except (ImportError, ValueError):
            return
        self.schedule = schedule
        timer.init(period=_TIMER_MS, mode=Timer.PERIODIC, callback=self.on_timer)
        self.timer = timer
        self.agent.board.has_timer = True

    def on_timer(self, _):
        """Have the agent polled soon; on some ports this is an interrupt's handler."""
        if not self.is_scheduled:
            self.is_scheduled = True
            try:
                self.schedule(self.scheduled_poll, 0)
            except RuntimeError:  # the queue is full; at the next time
                self.is_scheduled = False

    def callback(self, _):
        """Poll, inside whatever the main thread does, unless some lock of the agent is locked."""
        agent = self.agent
        self.is_scheduled = False
        if self.timer is None or agent.threads.locked():
            return
        try:
            if imported_asyncio() is not None:
                self.start()  # it may have been imported late
            if hasattr(agent.link, "sink"):  # it may be stdin
                self.seen = agent.has_input() and self.seen + 1
                left = (_LOOKS if agent.session.host_id else _LOOKS_ALONE) - self.seen
                agent.rows_first = left > 0
                if 0 < left < _LOOKS_AT_ONCE:
                    self.on_timer(0)
                    left = agent.ticks_ms() - agent.polled_ms & _TICKS_MASK
                    if left < agent.rest_ms and not agent.clock.poll_now:
                        return  # else what is due might wait for the timer's next ticks
            agent.__class__.poll(agent)  # not a watchdog's, for which that would be a turn
        except RuntimeError:  # the program is so deep in calls that no stack is left for this
            agent.faults += 1

    def stop_timer(self):
        """Stop the timer, if there is one."""
        if self.timer is not None:
            self.timer.deinit()
            self.timer = None
