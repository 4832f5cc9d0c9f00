"""Stops what hangs, or resets the board for it; loaded for the watchdog's actions that do."""

import os
import sys

import micropython
from micropython import const

from warden.runner import Runner
from warden.sensors.load import imported_asyncio
from warden_schema.codec import cut

_AGAIN_MS = const(2000)  # an interrupt is noticed by then
_MAX_TRIES = const(3)  # to interrupt the same hang
_CTRL_C = const(3)
_MAX_NAME = const(24)
_HOUR_MS = const(3_600_000)
_HUNG = const(7)  # a state, as in `crashes`
_HANG_KIND = const(4)  # of ids.EXCEPTION_KINDS
_STOPPED = const(2)  # of ids.HANG_STEPS
_WAS_RESET = const(3)


def by_schedule():
    """Interrupt the main program by a function of MicroPython's, from 1.29 on."""
    try:
        micropython.schedule(micropython.kbd_intr, None)
    except RuntimeError:  # the queue is full: it is tried again
        pass


def by_signal():
    """Interrupt it by SIGINT, on unix, soon, from a shell beside it: system() lets none through.

    That port raises in the midst of C code, as for Ctrl-C: one that comes into an allocation leaves
    the heap locked.
    """
    os.system("(sleep 0.1; kill -INT $PPID) &")


class HangStopper:
    """Interrupts the main program; `act()` tells `warden.run()` what follows.

    interrupt: what does that, after which the caller only returns, None if the port has no way;
    again_ms: after so long without effect it is tried again; slot: the `ByDupterm` that it is of,
    or None; resets: reset the board then; max_restarts: of the application in an hour, else;
    settings: what `warden.watchdog()` was given.
    Made by `stop_setup.make_stopper`, which lists what else it has.
    """

    def preempt(self, now):
        """Interrupt what hangs, again where that had no effect; reset where there is no way."""
        watchdog = self.watchdog
        if watchdog.crashes.main is None:
            return None
        requested = self.requested_ms
        if requested is not None:
            if watchdog.ticks_diff(now, requested) < self.again_ms:
                return None
        self.tries += 1
        if self.tries <= _MAX_TRIES and self.interrupt is not None:
            if self.slot is None or self.slot.prepare():
                self.requested_ms = now
                micropython.kbd_intr(_CTRL_C)  # which the application may have had as data
                return self.interrupt()
        elif self.resets:
            self.reset(None)
        return None

    def release(self, now=None):
        """Forget this hang; return False, with nothing forgotten, if an interrupt may come yet."""
        requested = self.requested_ms
        if now is not None and requested is not None:
            if self.watchdog.ticks_diff(now, requested) < _AGAIN_MS:
                return False
        self.requested_ms = None
        self.tries = 0
        if self.slot is not None:
            self.slot.release()
        return True

    def act(self, error):
        """Tell whether it was the watchdog that ended the application, which then is to run anew.

        Its traceback is kept. Does not return where the board is reset.
        """
        watchdog = self.watchdog
        hung = watchdog.subject
        if self.requested_ms is None or not watchdog.active:
            return False
        watchdog.active = False  # the ticker may be in a thread
        now = watchdog.ticks_ms()
        ms = watchdog.ticks_diff(now, watchdog.last_ms)
        self.release()
        board = watchdog.crashes.board
        board.collect()
        try:
            name = (hung and cut(hung, _MAX_NAME)) or None
        except MemoryError:
            name = None
        caught = watchdog.crashes.keep(error, _HANG_KIND, name)
        main = watchdog.crashes.main
        if not 0 <= watchdog.ticks_diff(now, self.hour_ms) <= _HOUR_MS:  # it wraps in six days
            self.hour_ms = now
            self.restarts = 0
        self.restarts += 1
        can_restart = not self.resets and (isinstance(main, str) or callable(main))
        if self.restarts > self.max_restarts or not can_restart or not self.forget_tasks():
            if board.reset is not None:
                watchdog.post(_WAS_RESET, hung or None, ms)
            self.reset(caught)
            watchdog.active = True  # this port has no way to reset itself
            return False
        watchdog.post(_STOPPED, hung or None, ms)
        if isinstance(main, str):
            sys.modules.pop(main, None)
        watchdog.begin()
        return True

    def reset(self, caught):
        """Reset the board, for what hangs; caught: its row, if its traceback was kept."""
        watchdog = self.watchdog
        crashes = watchdog.crashes
        crashes.subject = watchdog.subject or None
        crashes.note_fault(caught, _HUNG)
        if crashes.board.reset is not None:
            crashes.board.reset()

    def forget_tasks(self):
        """Forget the tasks and callbacks of the application that was stopped; end what it began.

        Return False if there is no memory for a new event loop.
        """
        core = imported_asyncio()
        if core is not None:
            try:
                core.new_event_loop()
            except MemoryError:
                return False
            core.cur_task = None
        policy = self.watchdog.agent.policy
        if policy is None:
            return True
        callbacks, trims = self.watchdog.crashes.lasting
        while len(policy.events.callbacks) > callbacks:
            policy.events.callbacks.pop()  # it sets its own anew
        functions = policy.pressure.functions
        for place in range(trims, len(functions)):
            functions[place] = None
        policy.detach(None)
        return True

    # --- for an application that runs anew ------------------------------------------------------

    def find_public(self, name):
        """Do as the package's `__getattr__`, which is `load`; two names are here."""
        return self.public.get(name) or self.load(name)

    def watch_again(
        self,
        hang_ms=5000,
        action="tell",
        hardware_ms=None,
        critical_ms=60_000,
        restarts=6,
        polled=False,
    ):
        """Do as `warden.watchdog()`; what is set just so goes on where there is no memory for that.

        For main, which is run anew when it was stopped, calls it again, and what sets it up has to
        be loaded then.
        """
        try:
            self.load("watchdog")(hang_ms, action, hardware_ms, critical_ms, restarts, polled)
        except MemoryError:
            watchdog = self.watchdog
            had = self.settings
            is_same = watchdog.owner is Runner.current and watchdog.action is self
            is_same = is_same and had[0] == hang_ms and had[1] == action and had[2] == hardware_ms
            is_same = is_same and had[3] == critical_ms and had[4] == restarts
            if not is_same or had[5] != polled:
                raise
            watchdog.begin()

    def check_in_again(self, name, every_ms):
        """Do as `warden.checkin()`, likewise: it is the one of that name and time that there is."""
        try:
            return self.load("checkin")(name, every_ms)
        except MemoryError:
            duties = self.watchdog.duties
            for each in () if duties is None else duties.rows:
                if each is not None and each.name == name and each.every_ms == every_ms:
                    each.feed()
                    return each
            raise
