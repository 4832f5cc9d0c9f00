"""`@warden.guarded(…)`: each call of a function is an operation. Loaded at its first use."""


async def _async_function():
    pass


async def _complete_after(operation, coro):
    try:
        return await coro
    finally:
        operation.complete()


def wrap(function, make_operation):
    """Return the function, plain or async, with each call inside an operation of its own.

    make_operation: called before each call; returns an operation that has not begun. MicroPython
    does not tell before the call that a closure is async: its operation begins with the call, as a
    plain one's does, and ends with the coroutine.
    """
    if isinstance(function, type(_async_function)):

        async def call(*args, **kwargs):
            async with make_operation():
                return await function(*args, **kwargs)

        return call

    def call(*args, **kwargs):
        operation = make_operation().__enter__()
        result = None
        try:
            result = function(*args, **kwargs)
        finally:
            if not hasattr(result, "throw"):
                operation.complete()
        return _complete_after(operation, result) if hasattr(result, "throw") else result

    return call
