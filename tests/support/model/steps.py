"""What may happen to a board, at random: each step is a tuple of a name and its arguments.

Leases, operations and sessions are named by how many were made since, so that a step makes sense
in any sequence and Hypothesis can leave others out. A step's arguments are one number, drawn at
once, for drawing each by itself takes longer than the board does to do it all.
"""

from __future__ import annotations

from math import prod
from typing import Any

from hypothesis import strategies as st

from . import hosts
from .rules import BANDWIDTH, CPU_TIME, MEMORY, NO_AMOUNT, STORAGE

Step = tuple[Any, ...]
Options = tuple[
    Any, ...
]  # of an argument; the first is the simplest, one that is there twice likelier


def _step(name: str, *arguments: Options) -> st.SearchStrategy[Step]:
    """Return a strategy of steps with any combination of the arguments' options."""

    def decode(number: int) -> Step:
        step = [name]
        for options in arguments:
            number, place = divmod(number, len(options))
            step.append(options[place])
        return tuple(step)

    return st.integers(0, prod(map(len, arguments)) - 1).map(decode)


_GOOD = (  # of the board's 130 000 bytes, two mounts of 163 840, 900 permille and any bandwidth
    (MEMORY, 30_000),
    (MEMORY, 60_000),
    (MEMORY, 5_000),
    (STORAGE, 40_000),
    (STORAGE, 163_840),
    (CPU_TIME, 300),
    (CPU_TIME, 900),
    (BANDWIDTH, 1000),
    (BANDWIDTH, 1 << 28),
)
_ODD = (
    (MEMORY, 130_000),
    (MEMORY, 130_001),
    (MEMORY, 0),
    (STORAGE, 163_841),
    (CPU_TIME, 901),
    (BANDWIDTH, NO_AMOUNT),
    (BANDWIDTH, NO_AMOUNT + 1),
)
_RECENT = (0, 1, 2, 3, 4, 5)
_PRIORITY = (1, 0, 2, 3)
_SESSION = (None, 0, 0, 1)
_HOST = (0, 1)
_MEMORY = (None, 6_000, 60_000, None, 90_000, 60_000, -2)  # -1 is what was learned
_TIMEOUT_MS = (60_000, None, 2500, 800)
_WAIT_MS = (60_000, 0, 5000, 500, 0, 2000)
_MOUNT = (None, None, "/", "/sd", "/none")
_NO_MOUNT = (None,)
_LEASE = (_PRIORITY, (60_000, None, 5000, 1500), _SESSION, (False, True), (0, 1, 1, 2))

_ALLOCATE = _step("allocate", _GOOD + _GOOD + _ODD, *_LEASE, _MOUNT)
_ALLOCATE_MEMORY = _step("allocate", _GOOD[:3], *_LEASE, _NO_MOUNT)
_ALLOCATE_LITTLE = _step(
    "allocate", ((BANDWIDTH, 1000),), _PRIORITY, (None,), (None,), (False,), (0, 1, 0), _NO_MOUNT
)
_ALLOCATE_THERE = _step(
    "allocate", _GOOD[:4], _PRIORITY, (None,), (0, 0, 1), (False,), (0,), _NO_MOUNT
)
_BEGIN_THERE = _step("begin", _PRIORITY, (60_000,), _MEMORY[:3], (60_000,), (0, 0, 1))
_BEGIN_WAITING = _step("begin", _PRIORITY, (60_000,), (None,), (60_000,), (None,))
_BEGIN = _step("begin", _PRIORITY, _TIMEOUT_MS, _MEMORY, _WAIT_MS, _SESSION)
_ASK = st.one_of(
    _step(
        "ask_allocate",
        _HOST,
        (1, 0, 2),
        _GOOD + _ODD,
        _PRIORITY,
        (None, 1500, 30_000),
        _MOUNT,
    ),
    _step("ask_begin", _HOST, (1, 0, 2), _PRIORITY, _TIMEOUT_MS, _MEMORY, _WAIT_MS),
    _step(
        "ask_about",
        _HOST,
        (1, 0, 2),
        (hosts.RELEASE, hosts.COMPLETE, hosts.CANCEL, hosts.CAN_EXECUTE),
        _RECENT[:4],
    ),
)
_SAY = _step("say", _HOST, (hosts.SUBSCRIBE, hosts.KEEPALIVE, hosts.KEEPALIVE, hosts.UNSUBSCRIBE))
_AGAIN = _step("again", _HOST, _RECENT)
_TIME = _step("time", (400, 1000, 1, 1500, 2000, 3001, 11_000))
_OPEN = _step("open", (None, 10_000, 100_000), (None, 50_000), (None, 1, 2), (None, None, 5000))
_OPEN_WITH_QUOTAS = _step("open", (100_000,), (50_000,), (2, 3), (None,))
_CAN_EXECUTE = _step("can_execute", _PRIORITY)
_RELEASE = _step("release", _RECENT)
_COMMIT = _step("commit", _RECENT)
_COMPLETE = _step("complete", _RECENT[:4])
_CHECK = _step("check", _RECENT)
_CLOSE = _step("close", _RECENT[:3])
_SET_LIMITS = _step("set_limits", (1, 2, 3, 4), (100, 0, 500))

# Sequences of everything seldom come to what two or three kinds of step do to each other.
# `can_execute` is always the first: it is what steps that do not matter shrink to.
_MIXES = (
    (_ALLOCATE_MEMORY, _ALLOCATE_MEMORY, _ALLOCATE_MEMORY, _RELEASE, _COMMIT, _TIME),
    (_ALLOCATE, _ALLOCATE, _ALLOCATE, _RELEASE, _COMMIT, _OPEN, _CLOSE, _SET_LIMITS, _TIME),
    (_BEGIN, _BEGIN, _BEGIN, _BEGIN, _COMPLETE, _CHECK, _SET_LIMITS, _TIME),
    (_BEGIN, _BEGIN, _BEGIN, _ALLOCATE_MEMORY, _COMPLETE, _RELEASE, _TIME),
    (_BEGIN, _BEGIN, _BEGIN, _ALLOCATE_MEMORY, _COMPLETE, _OPEN, _CLOSE, _TIME),
    (_BEGIN_THERE, _BEGIN_THERE, _ALLOCATE_THERE, _COMPLETE, _OPEN_WITH_QUOTAS),
    (_ASK, _ASK, _ASK, _ASK, _SAY, _AGAIN, _TIME),
    (_ASK, _ASK, _SAY, _AGAIN, _BEGIN, _ALLOCATE, _COMPLETE, _RELEASE, _OPEN, _CLOSE, _TIME),
)


# As many as it takes to fill the tables.
_LONG_MIXES = (
    (_ALLOCATE_LITTLE, _ALLOCATE_LITTLE, _ALLOCATE_LITTLE, _ALLOCATE_LITTLE, _RELEASE, _ALLOCATE),
    (_BEGIN_WAITING, _BEGIN_WAITING, _BEGIN_WAITING, _COMPLETE),
)


def _sequences(
    mix: tuple[st.SearchStrategy[Step], ...], least: int
) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.one_of(_CAN_EXECUTE, *mix), min_size=least, max_size=50)


sequence: st.SearchStrategy[list[Step]] = st.one_of(
    *[_sequences(mix, 15) for mix in _MIXES], *[_sequences(mix, 35) for mix in _LONG_MIXES]
)
