"""Counts what a call takes: instructions (as ticks of the 25 MHz timer) and bytes of heap.

Runs on the board, before each of the programs beside it. A figure is printed as
`= NAME TICKS BYTES`.
"""

import gc

import machine

_CTRL = 0x40000000
_VALUE = 0x40000004
_RELOAD = 0x40000008
_TOP = 838_860_799  # as in warden.board_mps2, which starts the same timer anew

gc.collect()
gc.disable()  # a collection in the middle would count against whoever ran
_mem = machine.mem32
_mem[_CTRL] = 0
_mem[_RELOAD] = _mem[_VALUE] = _TOP
_mem[_CTRL] = 1


def nothing():
    pass


def passed(began):
    """Return the ticks since the timer stood at `began`, at most 33 seconds of them."""
    ticks = began - _mem[_VALUE]
    return ticks if ticks >= 0 else ticks + _TOP + 1


def now():
    return _mem[_VALUE]


def ticks_of(function):
    began = _mem[_VALUE]
    function()
    ticks = began - _mem[_VALUE]
    return ticks if ticks >= 0 else ticks + _TOP + 1


ticks_of(nothing)
EMPTY = ticks_of(nothing)


def bytes_of(function):
    before = gc.mem_alloc()
    function()
    return gc.mem_alloc() - before


def tell(name, ticks, count=-1):
    """Print a figure; -1: its bytes were not looked at."""
    print("=", name, ticks, count)


def measure(name, function, before=nothing, times=3):
    """Print what function() takes beyond an empty call, after before(): the last time of a few.

    The first times may fill what stays; the bytes are those of one time more.
    """
    for _ in range(times):
        before()
        gc.collect()
        ticks = ticks_of(function) - EMPTY
    before()
    gc.collect()
    tell(name, ticks, bytes_of(function))


def wait_ms(ms):
    """Let so much virtual time pass: 25 000 ticks a millisecond, at most 30 seconds."""
    left = ms * 25_000
    last = _mem[_VALUE]
    while left > 0:
        value = _mem[_VALUE]
        ticks = last - value
        left -= ticks if ticks >= 0 else ticks + _TOP + 1
        last = value
