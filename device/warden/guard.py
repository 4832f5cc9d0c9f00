"""`@warden.guarded(…)`: each call of a function is an operation. Loaded at its first use."""


async def _async_function():
    pass


async def _complete_after(operation, coro):
    try:
        result = await coro
    except BaseException as error:
        operation.__exit__(type(error), error, None)
        raise
    operation.complete()
    return result


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

    # An async closure seems a plain one until it is called: the first call begins its
    # operation as a plain function's does, without waiting in a task.
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
        return _complete_after(operation, result)

    return call
