"""A test runner small enough for a board: the same file runs on MicroPython and CPython.

A test file is plain functions named `test_*` that use `assert`. It may say in its first lines
where it runs, `# targets: unix frozen qemu cpython` (everywhere when it does not say). Nothing
here needs `time`, `select`, `asyncio` or a file system: the Cortex-M3 firmware has none.
"""

import sys

try:
    from micropython import heap_lock, heap_unlock
except ImportError:  # CPython: its heap cannot be locked, and the boards check that part

    def heap_lock():
        return 0

    def heap_unlock():
        return 0


SOAK = False  # whether the campaigns have their whole length; `boards` sets it

# A test whose name ends so is for the other interpreter.
_OTHERS = "_on_cpython" if sys.implementation.name == "micropython" else "_on_micropython"


class Skip(Exception):
    """This test cannot run here; its argument says why."""


def skip(reason):
    raise Skip(reason)


def has_module(name):
    """Tell whether this board has a module of that name."""
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def needs(*names):
    """Skip the test unless this board has all of these modules."""
    for name in names:
        if not has_module(name):
            skip("no module " + name)


def raises(kind, fn, *args, **kwargs):
    """Call `fn`, which must raise `kind`; returns the exception, for a look at what it says."""
    try:
        fn(*args, **kwargs)
    except kind as error:
        return error
    raise AssertionError("did not raise " + kind.__name__)


class _NoHeap:
    def __enter__(self):
        heap_lock()

    def __exit__(self, kind, error, trace):
        heap_unlock()
        return False


_NO_HEAP = _NoHeap()


def no_heap():
    """`with no_heap():` anything that allocates in it raises MemoryError (on MicroPython)."""
    return _NO_HEAP


def call(fn):
    """Run a test; one that is `async def` runs to its end in a loop of its own."""
    result = fn()
    if hasattr(result, "send"):
        import asyncio

        try:
            asyncio.run(result)
        finally:
            _forget_tasks(asyncio)


def _forget_tasks(asyncio):
    """Have what a test left over not go on inside the next one."""
    if sys.implementation.name == "micropython":
        asyncio.new_event_loop()


def _print_traceback(error):
    if hasattr(sys, "print_exception"):
        sys.print_exception(error)
    else:
        import traceback

        traceback.print_exception(error)


def _silent(*words):
    """Takes the place of print while the harness tests itself."""


def run(namespace, quiet=False):
    """Run the `test_*` functions of a dict of globals, by name: MicroPython keeps no order.

    Returns how many failed. The last line it prints is what `run.py` counts from.
    """
    say = _silent if quiet else print
    passed = failed = skipped = 0
    for name in sorted(namespace):
        fn = namespace[name]
        if not name.startswith("test_") or not callable(fn) or name.endswith(_OTHERS):
            continue
        try:
            call(fn)
        except Skip as why:
            skipped += 1
            say("skip " + name + ": " + str(why.args[0]))
        except Exception as error:
            failed += 1
            say("FAIL " + name)
            if not quiet:
                _print_traceback(error)
        else:
            passed += 1
            say("ok " + name)
    say("harness:", passed, "passed,", failed, "failed,", skipped, "skipped")
    return failed


def run_module(name):
    return run(__import__(name).__dict__)
