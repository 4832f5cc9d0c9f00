"""Beside an application on the unix port: what a board's `machine` has and that port's lacks.

A virtual timer (a thread in place of an interrupt), where TIMER is set; a UART, the terminal that
LINE names; a reset, which only ends the program. Where STAYS is set the board stays when its
program has ended, as one does at its REPL.
"""

import os
import sys
import time

from umachine import *  # noqa: F403


class Timer:
    PERIODIC = 1

    def __init__(self, number):
        if not os.getenv("TIMER"):
            raise ValueError("no such timer")
        self._period = 0

    def init(self, period, mode, callback):
        import _thread

        self._period = period
        self._callback = callback
        _thread.start_new_thread(self._run, ())

    def deinit(self):
        self._period = 0

    def _run(self):
        while self._period:
            time.sleep_ms(self._period)
            self._callback(self)


def _stay():
    while True:
        time.sleep(1)


if os.getenv("STAYS"):
    sys.atexit(_stay)


def UART(number, baud):
    return open(os.getenv("LINE"), "r+b", 0)


def reset():
    sys.exit()
