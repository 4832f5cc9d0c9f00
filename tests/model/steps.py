"""What may happen to a board, at random: each step is a tuple of a name and its arguments.

Leases, operations and sessions are named by how many were made since, so that a step makes sense
in any sequence and Hypothesis can leave others out.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from . import hosts
from .rules import NO_AMOUNT

Step = tuple[Any, ...]

_AMOUNTS = (
    (5_000, 30_000, 65_000, 130_000, 1, 0, -1, 130_001, 200_000),  # 130 000 bytes are to be had
    (40_000, 163_840, 1, 163_841),
    (300, 900, 1, 901),
    (1000, 1 << 28, NO_AMOUNT, NO_AMOUNT + 1),
)
_of = st.sampled_from
_recent = st.integers(0, 5)
_priority = st.integers(0, 3)
_session = st.none() | st.integers(0, 2)
_host = st.integers(0, 1)
_memory = _of((None, 6_000, 60_000, 90_000, -2))
_timeout_ms = _of((60_000, 800, 2500, None))
_wait_ms = _of((5000, 0, 500, 2000))
_mount = _of((None, None, "/", "/sd", "/none"))


def _some(kind: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.just(kind), _of(_AMOUNTS[kind]))


_resource = st.one_of(_some(0), _some(0), _some(1), _some(2), _some(3))

_request = st.one_of(
    st.builds(
        lambda some, priority, ttl, mount: (
            hosts.ALLOCATE,
            [*some, "host", priority, ttl, mount],
        ),
        _resource,
        _priority,
        _of((None, 1500, 30_000)),
        _mount,
    ),
    st.builds(
        lambda *arguments: (hosts.BEGIN, ["op", *arguments]),
        _priority,
        _timeout_ms,
        _memory,
        _wait_ms,
    ),
    st.tuples(_of((hosts.RELEASE, hosts.COMPLETE, hosts.CANCEL)), _recent),
    st.tuples(st.just(hosts.CAN_EXECUTE), _priority),
)


def _step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), *arguments)


_allocate = st.builds(
    lambda some, *rest: ("allocate", *some, *rest),
    _resource,
    _priority,
    _of((60_000, None, 1500, 5000)),
    _session,
    st.booleans(),
    st.integers(0, 2),
    _mount,
)
_begin = _step("begin", _priority, _timeout_ms, _memory, _wait_ms, _session)
_ask = _step("ask", _host, _request, st.integers(0, 2))
_say = _step("say", _host, _of((hosts.SUBSCRIBE, hosts.KEEPALIVE, hosts.UNSUBSCRIBE)))
_again = _step("again", _host, st.integers(0, 5))
_time = _step("time", _of((400, 1000, 1500, 2000, 1, 2999, 3001, 10_000, 11_000)))
_open = _step(
    "open",
    _of((10_000, None, 100_000)),
    _of((None, 50_000)),
    _of((None, 1, 3)),
    _of((None, 5000, 1500)),
)
_can_execute = _step("can_execute", _priority)
_release = _step("release", _recent)
_commit = _step("commit", _recent)
_complete = _step("complete", _recent)
_check = _step("check", _recent)
_close = _step("close", st.integers(0, 2))
_set_limits = _step("set_limits", st.integers(1, 4), _of((100, 0, 500)))

# Sequences of everything seldom come to what two or three kinds of step do to each other.
# `can_execute` is always the first: it is what steps that do not matter shrink to.
_MIXES = (
    (_allocate, _allocate, _release, _commit, _open, _close, _set_limits, _time),
    (_begin, _begin, _begin, _complete, _check, _set_limits, _time),
    (_begin, _begin, _allocate, _complete, _release, _open, _close, _time),
    (_ask, _ask, _ask, _say, _again, _time),
    (_ask, _ask, _say, _again, _begin, _allocate, _complete, _release, _open, _close, _time),
)


def _sequences(mix: tuple[st.SearchStrategy[Step], ...]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.one_of(_can_execute, *mix), min_size=10, max_size=40)


sequence: st.SearchStrategy[list[Step]] = _of(_MIXES).flatmap(_sequences)
