"""`@warden.guarded(…)`: each call of a function is an operation. Loaded at its first use."""

from micropython import const

from warden.checks import check_int
from warden.errors import check_text
from warden.runner import Runner
from warden.running import running_policy
from warden.sensors.threads import import_lock
from warden_schema.codec import cut

_LEARNED = const(-1)  # as memory
_MAX_NAME = const(24)
_MAX_MEMORY = const(0x3FFFFFFF)


def guarded(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return a decorator: each call of a function, plain or async, is then an `operation()`."""
    check(name, priority, timeout_ms, memory, wait_ms, session)
    if memory == _LEARNED:  # not at the first call
        with import_lock:
            from warden.policy.memory_profile import MemoryProfile  # noqa: F401
        runner = Runner.current
        if runner is not None and runner.agent.policy is not None:
            runner.agent.policy.load_profile()

    def make_operation():
        new = running_policy().operations.new
        return new(name, priority, timeout_ms, memory, wait_ms, session)

    def decorate(function):
        return wrap(function, make_operation)

    return decorate


def check(name, priority, timeout_ms, memory, wait_ms, session):
    """Raise now what `Operations.new` would raise at each call."""
    if not isinstance(name, str) or not name:
        raise ValueError("an operation has a name")
    check_text(cut(name, _MAX_NAME))
    check_int("priority", priority, 0, 3)
    if timeout_ms is not None:
        check_int("timeout_ms", timeout_ms, 1, None)
    if memory is not None:
        check_int("memory", memory, _LEARNED, _MAX_MEMORY)
    check_int("wait_ms", wait_ms or 0, 0, None)
    if not (session is None or hasattr(session, "admit_operation")):
        raise TypeError("session must be what warden.session() returned")


async def _async_function():
    pass


async def _run_inside(operation, coro):
    async with operation:
        return await coro


def wrap(function, make_operation):
    """Return the function, plain or async, with each call inside an operation of its own.

    make_operation: called before each call; returns an operation that has not begun.
    """
    if not callable(function):
        raise TypeError("only a function can be guarded")

    async def call_async(*args, **kwargs):
        async with make_operation():
            return await function(*args, **kwargs)

    if isinstance(function, type(_async_function)):
        return call_async

    # An async closure seems a plain one until it is called: the first call begins an operation
    # as a plain function's does, without waiting in a task. Nothing has run then, and may never.
    found_async = []

    def call(*args, **kwargs):
        if found_async:
            return call_async(*args, **kwargs)
        operation = make_operation().__enter__()
        result = None
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            operation.__exit__(type(error), error, None)
            raise
        if not hasattr(result, "throw"):
            operation.complete()
            return result
        found_async.append(True)
        operation.learns = 0
        operation.complete()
        return _run_inside(make_operation(), result)

    return call
