"""Stops what hangs, or resets the board for it; loaded for the watchdog's actions that do."""

import sys

from micropython import const

from warden.interrupter import find_interrupter
from warden.sensors.load import imported_asyncio
from warden_schema.codec import cut

_AGAIN_MS = const(2000)  # an interrupt is noticed by then
_MAX_TRIES = const(3)  # to interrupt the same hang
_MAX_NAME = const(24)
_HOUR_MS = const(3_600_000)
_HUNG = const(7)  # a state, as in `crashes`
_HANG_KIND = const(4)  # of ids.EXCEPTION_KINDS
_STOPPED = const(2)  # of ids.HANG_STEPS
_WAS_RESET = const(3)


class HangStopper:
    """Interrupts the main program; `act()` tells `warden.run()` what follows.

    interrupter: how it does that, None if the port has no way; resets: reset the board then;
    max_restarts: of the application in an hour, else.
    """

    def __init__(self, watchdog):
        self.watchdog = watchdog
        self.interrupter = None
        self.resets = False
        self.max_restarts = 0
        self.tries = 0  # to interrupt this hang
        self.requested_ms = None  # in ticks, when it was interrupted
        self.restarts = 0
        self.hour_ms = watchdog.ticks_ms()  # in which those were

    def preempt(self, now):
        """Interrupt what hangs, again where that had no effect; reset where there is no way."""
        watchdog = self.watchdog
        if watchdog.crashes.main is None:
            return None
        requested = self.requested_ms
        if requested is not None:
            if watchdog.ticks_diff(now, requested) < self.interrupter.again_ms:
                return None
        self.tries += 1
        if self.tries <= _MAX_TRIES and self.interrupter is not None:
            if self.interrupter.prepare():
                self.requested_ms = now
                return self.interrupter.fire()
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
        if self.interrupter is not None:
            self.interrupter.release()
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
        crashes = self.watchdog.crashes
        while len(policy.events.callbacks) > crashes.lasting_callbacks:
            policy.events.callbacks.pop()  # it sets its own anew
        functions = policy.pressure.functions
        for place in range(crashes.lasting_functions, len(functions)):
            functions[place] = None
        policy.detach(None)
        return True


def hook(watchdog, resets, restarts):
    """Have the watchdog stop what hangs; return 0, or the reason why it cannot interrupt it."""
    if watchdog.action is None:
        watchdog.action = HangStopper(watchdog)
    stopper = watchdog.action
    stopper.interrupter, no_line = find_interrupter()
    stopper.resets = resets
    stopper.max_restarts = restarts
    return no_line
