"""The agent: does the work of all parts in one order; `warden.setup.make_agent` joins them.

`poll()` is public and cheap where nothing is due. `run()` runs in one thread at a time.
`run_due()` does the work: listen → enforce → sample → send. Nothing that a host sends changes
whether the middle two are done.
"""

from micropython import const

from warden.sample import Sample, fragmentation_permille

_BUSY_MS = const(10)  # until the next try where another thread is polling
_SLICE_PAUSE_MS = const(2)  # between two slices of a large heap
_AFTER_FAULT_MS = const(1000)
_MAX_WAIT_MS = const(60_000)
_IDLE_POLLS = const(16)  # of which `governor.idle_us` is the time
_MAX_IDLE_POLLS = const(500_000)  # so that nothing exceeds 30 bits
_TICKS_MASK = const(0x3FFFFFFF)  # a port's ticks may have more bits
_FAR_MS = const(0x20000000)  # more has not passed: ticks have jumped back
# Places among a sample's figures.
_UNKNOWN = const(-0x3FFFFFFF - 1)
_UPTIME_S = const(0)
_UPTIME_MS = const(1)
_FREE_FIGURE = const(2)
_CPU_FIGURE = const(3)
_OVERHEAD_FIGURE = const(4)
_WORST_LAG_FIGURE = const(5)
_LAG_FIGURE = const(6)
_LIVE_FIGURE = const(7)
_LINK_FIGURE = const(8)
_TASKS_FIGURE = const(9)
_RSSI_FIGURE = const(10)
_SENT_FIGURE = const(11)
_RECEIVED_FIGURE = const(12)
_LARGEST_FIGURE = const(13)
_THREADS_FIGURE = const(14)
_CONNECTED_FIGURE = const(15)
_DROPPED_FIGURE = const(16)
_FAULTS_FIGURE = const(19)
_INTERVAL_FIGURE = const(20)
_TOTAL_FIGURE = const(21)
_WANTED_FIGURE = const(22)
_BUDGET_FIGURE = const(23)
_LOW_WATER_FIGURE = const(24)
_STUCK_MS = const(2500)  # twice, with nobody in the gate: Ctrl-C has left its lock, see `Gate`


class Agent:
    """Measures, decides and sends; `poll()` does what is due.

    Made by `warden.setup.make_agent`, which lists what it has.
    """

    def close(self):
        """Stop sampling, detach from asyncio and close the link."""
        self.stop_monitoring()
        self.load.detach()
        if self.link is not None:
            self.link.close()

    # A call whose variables, and what is on its stack, are more than eleven words takes a block of
    # the heap for them (py/objfun.c, VM_MAX_STATE_ON_STACK; 9 for a `try` with its `except`, 4 for
    # each `for`): none is that runs with each sample. tests/unit/test_frames.py holds it.

    def poll(self):
        """Do what is due, unless another thread does; return the milliseconds until there is more.

        Never raises, never waits, allocates nothing in steady state. Mostly nothing is due, which
        is found out before a lock is acquired or time is measured.
        """
        passed = self.polled_ms  # before the ticks: another thread may be polling
        passed = self.ticks_ms() - passed & _TICKS_MASK  # much, where ticks jumped back
        if passed < self.rest_ms and not self.clock.poll_now:
            try:
                if passed < self.listen_ms or not self.readable():
                    self.idle_polls += 1
                    return self.rest_ms - passed
            except Exception:  # as has_input()
                pass
        if not self.gate.enter():
            if _STUCK_MS < passed < _FAR_MS and not self.gate.release():
                self.polled_ms = self.ticks_ms()  # after the same time it is looked at again
            return _BUSY_MS
        if self.policy is not None and self.policy.can_deliver():
            try:
                self.policy.gate.enter()  # calls the application's own functions
            except Exception:
                self.faults += 1
        return self.rest_ms

    def has_input(self):
        """Tell whether the link has something to read, an error of its stream included."""
        try:
            return self.readable()
        except Exception:
            return True

    def run(self):
        """Run what is due, in one thread at a time; count what fails, and measure the time."""
        began = self.ticks_us()
        try:
            self.run_due()
        except Exception:
            self.note_fault()
        self.governor.spent_us += self.ticks_diff(self.ticks_us(), began)

    def note_fault(self):
        """Count an exception; poll again in a second, or at the next deadline if that is sooner."""
        self.faults += 1
        self.rest_ms = _AFTER_FAULT_MS
        if self.policy is not None:
            clock = self.clock
            left = clock.until_ms(clock.deadline_s, clock.deadline_ms)
            self.rest_ms = min(_AFTER_FAULT_MS, max(_BUSY_MS, left))

    def run_due(self):
        """Listen, enforce, sample, send, as far as due; set `rest_ms` to the time until more is."""
        clock = self.clock
        began = self.ticks_ms()
        wait = self.ticks_diff(began, self.polled_ms)
        self.polled_ms = began
        self.governor.refill_host(wait)
        self.rest_ms = 0  # should Ctrl-C come
        clock.poll_now = False
        clock.advance()
        left = _MAX_WAIT_MS
        if self.session is not None:
            left = self.listen()
        if self.policy is not None:
            left = min(left, self.policy.run_due())
        began = None
        sampled = False
        if self.governor.interval_ms:
            wait = clock.until_ms(self.deadline_s, self.deadline_ms)
            if wait <= 0:
                began = self.ticks_us()
                self.memory.spent_us = self.storage.spent_us = 0
                sampled = self.memory.scan()  # or a slice of the heap
                wait = self.take_sample(-wait) if sampled else _SLICE_PAUSE_MS
            left = min(left, wait)
        else:
            self.idle_polls = self.governor.spent_us = self.governor.host_spent_us = 0
            if self.sample.figures[_INTERVAL_FIGURE]:  # the last sample does not say so yet
                self.sample.figures[_INTERVAL_FIGURE] = 0
                self.sample.figures[_WANTED_FIGURE] = 0
                if self.session is not None:
                    self.session.on_sample(False)
        if self.session is not None:
            left = min(left, self.send(sampled))
        if began is not None:  # collections and storage scans have budgets of their own
            began = self.ticks_diff(self.ticks_us(), began)
            began -= self.memory.spent_us + self.storage.spent_us
            if began > 0:
                self.governor.sample_us += began
        self.rest_ms = left

    def listen(self):
        """Read the link, unless a host has had its share of the core, or the link failed.

        Return the milliseconds until what has arrived can be read.
        """
        if not self.has_input():
            self.rows_first = False
            self.listen_ms = self.governor.host_wait_ms()
            return _MAX_WAIT_MS
        try:
            if self.governor.host_us > 0 and not self.rows_first:
                wait = self.ticks_us()
                self.session.listen()
                wait = self.ticks_diff(self.ticks_us(), wait)
                self.governor.charge_host(wait)
                # Else to read what a host sends could take all of its share each time.
                self.rows_first = self.governor.host_us <= 0 and self.clock.rows_dirty
            self.listen_ms = wait = self.governor.host_wait_ms()
        except Exception:  # it is counted; sampling and enforcing go on
            self.faults += 1
            self.listen_ms = wait = _AFTER_FAULT_MS
        return wait or _MAX_WAIT_MS

    def send(self, sampled):
        """Send messages that are due; return the milliseconds until there are more.

        Rows wait for a poll without a sample, and while a host has had its share of the core. What
        is sent is charged to the host, but for a sample. To find nothing is not: that could be more
        than a host is given meanwhile.
        """
        governor = self.governor
        if sampled:
            left = self.session.pump(False)
        else:
            began = self.ticks_us()
            sent = self.session.uplink.sent
            rows = governor.host_us > 0
            left = self.session.pump(rows)
            if rows:
                self.rows_first = False
            if sent != self.session.uplink.sent or (rows and self.clock.rows_dirty):
                began = self.ticks_diff(self.ticks_us(), began)
                governor.charge_host(began)
        return left if governor.host_us > 0 else max(left, governor.host_wait_ms())

    def read_sensors(self, sample):
        """Put what the sensors read into the sample; tell if a capability may have changed."""
        clock = self.clock
        figures = sample.figures
        sample.period_ms = -clock.until_ms(figures[_UPTIME_S], figures[_UPTIME_MS])
        figures[_UPTIME_S] = clock.s
        figures[_UPTIME_MS] = clock.ms
        figures[_FAULTS_FIGURE] = self.faults
        figures[_THREADS_FIGURE] = _UNKNOWN if self.threads.early else self.threads.active
        governor = self.governor
        governor.spent_us += min(self.idle_polls, _MAX_IDLE_POLLS) * governor.idle_us // _IDLE_POLLS
        self.idle_polls = 0
        governor.update(sample, None if self.session is None else self.session.uplink.sent)
        changed = self.load.read(sample)
        changed |= self.network.read(figures)
        changed |= self.storage.read(figures)
        changed |= self.memory.read(sample)
        if self.system_heap is not None:
            self.system_heap.read()
        return changed

    def take_sample(self, late_ms):
        """Read every sensor; add the sample to the history, evaluate it, have it sent.

        late_ms: the time since it was due. Return the milliseconds until the next one.
        """
        sample = self.sample
        clock = self.clock
        governor = self.governor
        changed = self.read_sensors(sample)
        self.history.add(sample)
        wait_ms = governor.interval_ms
        if self.policy is not None:
            self.policy.evaluate(sample.period_ms, late_ms)
            if not governor.interval_ms:  # another thread has stopped monitoring meanwhile
                self.policy.pressure.relax()
            elif self.policy.pressure.level:
                # While memory is short, sampling in time matters more than the budget.
                wait_ms = min(wait_ms, governor.wanted_interval_ms)
        if self.session is not None:
            self.session.on_sample(changed)
        # The next one is an interval after this one was due, without those that are past: no figure
        # is of less than a tenth of the interval.
        late_ms %= wait_ms or 1  # 0: monitoring is stopped
        if late_ms * 10 > wait_ms * 9:
            late_ms -= wait_ms
        wait_ms -= late_ms
        late_ms = wait_ms + clock.ms
        self.deadline_s = clock.s + late_ms // 1000
        self.deadline_ms = late_ms % 1000
        return wait_ms

    def start_monitoring(self, interval_ms, budget_permille=None):
        """Sample every interval_ms (20 to 600 000) from now on, within a budget; return that.

        The first one comes at once, or a tenth of the interval after the last; until then a host is
        sent that one again, with what holds now. budget_permille: 1 to 1000, None: as it is.
        ValueError or TypeError for what makes no sense.
        """
        governor = self.governor
        governor.set(interval_ms, budget_permille)
        clock = self.clock
        clock.advance()
        figures = self.sample.figures
        if (
            figures[_WANTED_FIGURE] != interval_ms
            or figures[_BUDGET_FIGURE] != governor.budget_permille
        ):
            figures[_INTERVAL_FIGURE] = figures[_WANTED_FIGURE] = interval_ms
            figures[_BUDGET_FIGURE] = governor.budget_permille
            if self.session is not None:
                self.session.on_sample(False)
        wait_ms = interval_ms // 10 + clock.until_ms(figures[_UPTIME_S], figures[_UPTIME_MS])
        wait_ms = max(0, wait_ms) + clock.ms
        self.deadline_s = clock.s + wait_ms // 1000
        self.deadline_ms = wait_ms % 1000
        clock.poll_now = True
        return interval_ms

    def stop_monitoring(self):
        """Take no more samples; the link goes on, and the last sample says so."""
        self.governor.wanted_interval_ms = self.governor.interval_ms = 0
        self.clock.poll_now = True
        if self.policy is not None:
            self.policy.pressure.relax()

    # --- for the application ------------------------------------------------------------------

    def fill_status(self, status, running):
        """Put the newest metrics into a dict; a dict that was filled before needs no memory."""
        if not status:
            status["memory"] = {}
            status["cpu"] = {}
            status["network"] = {}
            status["overhead"] = {}
            status["system_heap"] = None if self.system_heap is None else {}
            status["board"] = self.board.facts
        sample = self.sample
        get = Sample.get  # what is bound to the sample would have to be allocated
        total = get(sample, _TOTAL_FIGURE)
        free = get(sample, _FREE_FIGURE)
        largest = get(sample, _LARGEST_FIGURE)
        metrics = status["memory"]
        metrics["total_bytes"] = total
        metrics["used_bytes"] = total - free
        metrics["available_bytes"] = free
        metrics["live_bytes"] = get(sample, _LIVE_FIGURE)
        metrics["largest_free_block_bytes"] = largest
        metrics["fragmentation_permille"] = fragmentation_permille(free, largest)
        metrics["low_water_bytes"] = get(sample, _LOW_WATER_FIGURE)
        metrics["usage_permille"] = (total - free) // (total // 1000)
        metrics = status["cpu"]
        metrics["usage_permille"] = get(sample, _CPU_FIGURE)
        metrics["active_threads"] = get(sample, _THREADS_FIGURE)
        metrics["active_tasks"] = get(sample, _TASKS_FIGURE)
        metrics["loop_lag_ms"] = get(sample, _LAG_FIGURE)
        metrics["loop_lag_worst_ms"] = get(sample, _WORST_LAG_FIGURE)
        metrics["uptime_s"] = get(sample, _UPTIME_S)
        metrics = status["network"]
        connected = get(sample, _CONNECTED_FIGURE)
        metrics["connected"] = None if connected is None else connected == 1
        metrics["rssi_dbm"] = get(sample, _RSSI_FIGURE)
        metrics["sent_bytes"] = get(sample, _SENT_FIGURE)
        metrics["received_bytes"] = get(sample, _RECEIVED_FIGURE)
        metrics = status["overhead"]
        metrics["cpu_permille"] = get(sample, _OVERHEAD_FIGURE)
        metrics["budget_permille"] = self.governor.budget_permille
        metrics["bytes_per_s"] = get(sample, _LINK_FIGURE)
        metrics["dropped_frames"] = get(sample, _DROPPED_FIGURE)
        if self.system_heap is not None:
            self.system_heap.fill(status["system_heap"])
        status["storage"] = self.storage.mounts
        status["interval_ms"] = self.governor.interval_ms
        status["wanted_interval_ms"] = self.governor.wanted_interval_ms
        status["faults"] = self.faults
        self.clock.advance()
        status["memory"]["live_age_ms"] = self.memory.live_age_ms()
        status["age_ms"] = -self.clock.until_ms(get(sample, _UPTIME_S), get(sample, _UPTIME_MS))
        status["running"] = running
        return status
