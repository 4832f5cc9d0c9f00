"""QEMU's mps2-an385: a Cortex-M3 whose firmware has no `time`, no `select` and no `_thread`.

The clock, the second serial port and the watchdog are their registers: Arm CMSDK (DDI 0479), "APB
timer", "APB dual-input timers", "APB UART" and "APB watchdog". All values read stay below 2**30, so
that nothing is allocated.
"""

import machine
from micropython import const

from warden.board import Board

try:
    from warden.mps2_viper import read, readable, since, ticks_diff, ticks_ms, ticks_us, write
except (ImportError, ValueError, SyntaxError, TypeError):  # as in warden_schema.loops
    from warden.mps2_plain import read, readable, since, ticks_diff, ticks_ms, ticks_us, write

_TIMER_CTRL = const(0x40000000)
_TIMER_VALUE = const(0x40000004)
_TIMER_RELOAD = const(0x40000008)
_TIMER_TOP = const(838_860_799)

_DUAL_LOAD = const(0x40002000)
_DUAL_VALUE = const(0x40002004)
_DUAL_CONTROL = const(0x40002008)
_DUAL_MASK = const((1 << 30) - 1)
_DUAL_PERIODIC_256_32BIT = const(0xCA)

_UART_CTRL = const(0x40005008)
_UART_BAUDDIV = const(0x40005010)
_WATCHDOG_LOAD = const(0x40008000)
_WATCHDOG_CONTROL = const(0x40008008)
_WATCHDOG_CLEAR = const(0x4000800C)
_WATCHDOG_LOCK = const(0x40008C00)
_UNLOCK = const(0x1ACCE551)
_INTERRUPT_AND_RESET = const(3)
_HALF_MS = const(12_500)  # of its 25 MHz: the first time it ends there is an NMI, then a reset
_AIRCR = const(0xE000ED0C)
_RESET_REQUEST = const(0x05FA0004)


class Mps2(Board):
    """The adapter: its own clock and link, the rest as found."""

    # Address and bytes: behind all that the firmware uses of the 16 MB of PSRAM (AN385, 3.1). From
    # MicroPython 1.29 on ROMFS begins at 0x21000000, and a file system of 15 MB would reach here.
    spare_ram = (0x21FF0000, 256)

    def __init__(self):
        mem = machine.mem32
        mem[_TIMER_CTRL] = 0
        mem[_TIMER_RELOAD] = _TIMER_TOP
        mem[_TIMER_VALUE] = _TIMER_TOP
        mem[_TIMER_CTRL] = 1
        mem[_DUAL_LOAD] = _DUAL_MASK
        mem[_DUAL_CONTROL] = _DUAL_PERIODIC_256_32BIT
        since[0] = mem[_DUAL_VALUE]
        since[1] = since[2] = 0
        self._mem = mem
        self.ticks_ms = ticks_ms
        self.ticks_us = ticks_us
        self.ticks_diff = ticks_diff

    def sleep_ms(self, ms):
        """Wait: there is nothing that could be done meanwhile."""
        began = ticks_ms()
        while ticks_diff(ticks_ms(), began) < ms:
            pass

    def reset(self):
        """Ask for a system reset: AIRCR.SYSRESETREQ with its key (Armv7-M ARM, B3.2.6)."""
        self._mem[_AIRCR] = _RESET_REQUEST
        while True:
            pass

    def start_watchdog(self, ms):
        """Start the watchdog, which resets the board in `ms`; return the function that feeds it."""
        mem = self._mem
        mem[_WATCHDOG_LOCK] = _UNLOCK
        mem[_WATCHDOG_LOAD] = ms * _HALF_MS
        mem[_WATCHDOG_CONTROL] = _INTERRUPT_AND_RESET
        return self._feed_watchdog

    def _feed_watchdog(self):
        self._mem[_WATCHDOG_CLEAR] = 1

    def save_note(self, _text):
        """Save nothing: this firmware has no file system."""
        raise OSError(19)  # ENODEV

    def load_note(self):
        """Return None: nothing is saved."""

    def default_link(self):
        """Return UART1: UART0 is the REPL's, which this port cannot read without waiting."""
        return Uart1()


class Uart1:
    """The second serial port, polled: takes and gives only what the hardware has room for."""

    window = 0  # it tells itself how much it takes
    waitable = None

    def __init__(self):
        self._mem = machine.mem32
        self._mem[_UART_BAUDDIV] = 16
        self._mem[_UART_CTRL] = 3
        self.readable = readable  # () -> whether something has arrived
        self.write = write  # (buf, start, end) -> how many went without waiting

    def read(self, buf):
        """Read what has arrived into buf; return the count."""
        return read(buf, len(buf))

    def close(self):
        """Leave the port off."""
        self._mem[_UART_CTRL] = 0
