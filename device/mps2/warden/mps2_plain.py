"""The registers of `board_mps2` in bytecode, for a firmware without viper; see `mps2_viper`."""

from array import array

import machine
from micropython import const

_TIMER_VALUE = const(0x40000004)
_TIMER_TOP = const(838_860_799)
_US_MASK = const((1 << 25) - 1)
_HALF = const(1 << 24)
_DUAL_VALUE = const(0x40002004)
_DUAL_MASK = const((1 << 30) - 1)
_UART_DATA = const(0x40005000)
_UART_STATE = const(0x40005004)
_TX_FULL = const(1)
_RX_FULL = const(2)

since = array("i", (0, 0, 0))
_mem = machine.mem32


def ticks_us():
    """Return microseconds, modulo 2**25."""
    return (_TIMER_TOP - _mem[_TIMER_VALUE]) // 25


def ticks_ms():
    """Return milliseconds, modulo 2**30; must be called once in three hours."""
    count = _mem[_DUAL_VALUE]
    passed = (since[0] - count) & _DUAL_MASK
    since[0] = count
    rest = since[1] + passed % 3125 * 32
    since[1] = rest % 3125
    since[2] = ms = (since[2] + passed // 3125 * 32 + rest // 3125) & _DUAL_MASK
    return ms


def ticks_diff(end, start):
    """Return end - start for both clocks of this board, up to 2**24 in either direction."""
    return ((end - start + _HALF) & _US_MASK) - _HALF


def readable():
    """Tell whether something has arrived at UART1."""
    return _mem[_UART_STATE] & _RX_FULL != 0


def read(buf, room):
    """Read what has arrived at UART1 into buf[:room]; return the count."""
    count = 0
    while count < room and _mem[_UART_STATE] & _RX_FULL:
        buf[count] = _mem[_UART_DATA]
        count += 1
    return count


def write(buf, start, end):
    """Write buf[start:end] to UART1 as far as it goes without waiting; return the count."""
    at = start
    while at < end and not _mem[_UART_STATE] & _TX_FULL:
        _mem[_UART_DATA] = buf[at]
        at += 1
    return at - start
