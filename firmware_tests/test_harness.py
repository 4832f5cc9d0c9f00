# targets: unix frozen qemu cpython
"""The harness itself, on every interpreter: that a test can fail, skip, and lock the heap."""

import sys

from harness import Skip, needs, no_heap, raises, run, skip

_ON_MICROPYTHON = sys.implementation.name == "micropython"


def _fails():
    raise ValueError("on purpose")


def test_raises_returns_the_exception():
    error = raises(ValueError, _fails)
    assert error.args[0] == "on purpose"


def test_raises_fails_when_nothing_is_raised():
    error = raises(AssertionError, raises, ValueError, lambda: None)
    assert "ValueError" in error.args[0]


def test_raises_lets_another_exception_through():
    raises(ValueError, raises, KeyError, _fails)


def test_skip_carries_its_reason():
    assert raises(Skip, skip, "no radio").args[0] == "no radio"
    assert "nothing_like_it" in raises(Skip, needs, "sys", "nothing_like_it").args[0]


def test_no_heap_catches_an_allocation():
    if not _ON_MICROPYTHON:
        skip("the heap of CPython cannot be locked")

    def allocate():
        with no_heap():
            return bytearray(64)

    raises(MemoryError, allocate)
    assert len(bytearray(64)) == 64  # and it is unlocked again


def test_no_heap_lets_pass_what_allocates_nothing():
    buffer = bytearray(8)
    with no_heap():
        for i in range(8):
            buffer[i] = i
    assert buffer[7] == 7


def test_an_async_test_runs_to_its_end():
    needs("asyncio")
    ran = []

    async def test_inner():
        ran.append(1)

    assert run({"test_inner": test_inner, "helper": _fails}, quiet=True) == 0
    assert ran == [1]


def test_a_failing_test_is_counted():
    namespace = {"test_good": lambda: None, "test_bad": _fails, "helper": _fails}
    namespace["test_skipped"] = lambda: skip("because")
    assert run(namespace, quiet=True) == 1


def test_frozen_code_has_no_rival_on_the_path():
    """A firmware test of frozen code means nothing if a copy on the path is what runs."""
    if not _ON_MICROPYTHON or any(path.endswith("device") for path in sys.path):
        skip("the agent is not frozen here")
    import warden_schema

    # A frozen module's file is relative: it was compiled under its name within the manifest.
    assert not warden_schema.__file__.startswith("/"), warden_schema.__file__
