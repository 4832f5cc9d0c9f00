# targets: unix frozen qemu cpython
"""The harness itself, on every interpreter: that a test can fail, skip, and lock the heap."""

from harness import Skip, needs, no_heap, raises, run, skip


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


def test_no_heap_catches_an_allocation_on_micropython():
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


def test_a_failing_test_is_counted():
    namespace = {"test_good": lambda: None, "test_bad": _fails, "helper": _fails}
    namespace["test_skipped"] = lambda: skip("because")
    assert run(namespace, quiet=True) == 1


def test_what_is_for_the_other_interpreter_is_left_out():
    namespace = {"test_x_on_cpython": _fails, "test_x_on_micropython": _fails}
    assert run(namespace, quiet=True) == 1
