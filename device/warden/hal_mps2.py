"""QEMU's mps2-an385: a Cortex-M3 whose firmware has no `time`, no `select` and no `_thread`.

The clock and the second serial port are reached through `machine.mem32`. Registers: Arm CMSDK
(DDI 0479), "APB timer", "APB dual-input timers" and "APB UART". All values read stay below
2**30, so that nothing is allocated.
"""

import machine
from micropython import const

from .hal_stock import Stock

# APB timer 0 counts 25 MHz down; 25 * 2**25 counts make microseconds that wrap at 2**25 (33.5 s).
_TIMER_CTRL = const(0x40000000)
_TIMER_VALUE = const(0x40000004)
_TIMER_RELOAD = const(0x40000008)
_TIMER_TOP = const(838_860_799)
_US_MASK = const((1 << 25) - 1)

# Dual timer 1 counts 25 MHz / 256 down through 30 bits (3 hours): 3125 counts are 32 ms.
_DUAL_LOAD = const(0x40002000)
_DUAL_VALUE = const(0x40002004)
_DUAL_CONTROL = const(0x40002008)
_DUAL_MASK = const((1 << 30) - 1)
_DUAL_PERIODIC_256_32BIT = const(0xCA)

_UART_DATA = const(0x40005000)
_UART_STATE = const(0x40005004)
_UART_CTRL = const(0x40005008)
_UART_BAUDDIV = const(0x40005010)
_TX_FULL = const(1)
_AIRCR = const(0xE000ED0C)
_RESET_REQUEST = const(0x05FA0004)
_RX_FULL = const(2)


def ticks_diff(end, start):
    """Return end - start for both clocks of this board: right up to 2**24 in either direction.

    16.8 seconds in microseconds, 4.6 hours in milliseconds.
    """
    return ((end - start + (1 << 24)) & _US_MASK) - (1 << 24)


class Mps2(Stock):
    """The adapter: its own clock and link, the rest as found."""

    def __init__(self):
        self.machine_module = machine
        mem = machine.mem32
        mem[_TIMER_CTRL] = 0
        mem[_TIMER_RELOAD] = _TIMER_TOP
        mem[_TIMER_VALUE] = _TIMER_TOP
        mem[_TIMER_CTRL] = 1
        mem[_DUAL_LOAD] = _DUAL_MASK
        mem[_DUAL_CONTROL] = _DUAL_PERIODIC_256_32BIT
        self._mem = mem
        self._count = mem[_DUAL_VALUE]
        self._rest = 0
        self._ms = 0
        self.ticks_diff = ticks_diff

    def ticks_us(self):
        """Return microseconds, modulo 2**25."""
        return (_TIMER_TOP - self._mem[_TIMER_VALUE]) // 25

    def ticks_ms(self):
        """Return milliseconds, modulo 2**25; must be called once in three hours."""
        count = self._mem[_DUAL_VALUE]
        passed = (self._count - count) & _DUAL_MASK
        self._count = count
        rest = self._rest + passed % 3125 * 32
        self._rest = rest % 3125
        self._ms = (self._ms + passed // 3125 * 32 + rest // 3125) & _US_MASK
        return self._ms

    def sleep_ms(self, ms):
        """Wait: there is nothing that could be done meanwhile."""
        began = self.ticks_ms()
        while ticks_diff(self.ticks_ms(), began) < ms:
            pass

    def can_reset(self):
        """Tell that reset() works."""
        return True

    def reset(self):
        """Ask for a system reset: AIRCR.SYSRESETREQ with its key (Armv7-M ARM, B3.2.6)."""
        self._mem[_AIRCR] = _RESET_REQUEST
        while True:
            pass

    def leave_note(self, _text):
        """Keep nothing: this firmware has no file system."""
        raise OSError(19)  # ENODEV

    def take_note(self):
        """Return None: nothing is kept."""

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

    def read(self, buf):
        """Read what has arrived into buf; return the count."""
        mem = self._mem
        count = 0
        while count < len(buf) and mem[_UART_STATE] & _RX_FULL:
            buf[count] = mem[_UART_DATA]
            count += 1
        return count

    def write(self, buf, start, end):
        """Write buf[start:end] as far as it goes without waiting; return the count."""
        mem = self._mem
        at = start
        while at < end and not mem[_UART_STATE] & _TX_FULL:
            mem[_UART_DATA] = buf[at]
            at += 1
        return at - start

    def close(self):
        """Leave the port off."""
        self._mem[_UART_CTRL] = 0
