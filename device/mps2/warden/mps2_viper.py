"""The registers of `board_mps2` as machine code: other boards have their clock and UART in C.

`mps2_plain` is the same for a firmware without viper.
"""

from array import array

from micropython import const

# APB timer 0 counts 25 MHz down; 25 * 2**25 counts make microseconds that wrap at 2**25 (33.5 s).
_TIMER_VALUE = const(0x40000004)
_TIMER_TOP = const(838_860_799)
_US_MASK = const((1 << 25) - 1)
_HALF = const(1 << 24)

# Dual timer 1 counts 25 MHz / 256 down through 30 bits (3 hours): 3125 counts are 32 ms.
_DUAL_VALUE = const(0x40002004)
_DUAL_MASK = const((1 << 30) - 1)

_UART = const(0x40005000)
_TX_FULL = const(1)
_RX_FULL = const(2)

# Of ticks_ms: the counter as it was read last, what of a millisecond is over, milliseconds.
since = array("i", (0, 0, 0))


@micropython.viper
def ticks_us() -> int:
    """Return microseconds, modulo 2**25."""
    timer = ptr32(_TIMER_VALUE)
    return (_TIMER_TOP - timer[0]) // 25


@micropython.viper
def ticks_ms() -> int:
    """Return milliseconds, modulo 2**30; must be called once in three hours."""
    state = ptr32(since)
    timer = ptr32(_DUAL_VALUE)
    count = timer[0]
    passed = (state[0] - count) & _DUAL_MASK
    state[0] = count
    steps = passed // 3125
    rest = state[1] + (passed - steps * 3125) * 32
    more = rest // 3125
    state[1] = rest - more * 3125
    ms = (state[2] + steps * 32 + more) & _DUAL_MASK
    state[2] = ms
    return ms


@micropython.viper
def ticks_diff(end: int, start: int) -> int:
    """Return end - start for both clocks of this board: right up to 2**24 in either direction.

    16.8 seconds in microseconds, 4.6 hours in milliseconds.
    """
    return ((end - start + _HALF) & _US_MASK) - _HALF


@micropython.viper
def readable() -> bool:
    """Tell whether something has arrived at UART1."""
    uart = ptr32(_UART)
    return uart[1] & _RX_FULL != 0


@micropython.viper
def read(buf: ptr8, room: int) -> int:
    """Read what has arrived at UART1 into buf[:room]; return the count."""
    uart = ptr32(_UART)
    count = 0
    while count < room and uart[1] & _RX_FULL:
        buf[count] = uart[0]
        count += 1
    return count


@micropython.viper
def write(buf: ptr8, start: int, end: int) -> int:
    """Write buf[start:end] to UART1 as far as it goes without waiting; return the count."""
    uart = ptr32(_UART)
    at = start
    while at < end and not uart[1] & _TX_FULL:
        uart[0] = buf[at]
        at += 1
    return at - start
