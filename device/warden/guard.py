"""`with warden.operation(…)`, `async with` and `@warden.guarded(…)`."""


class Guard:
    """`with warden.operation(…)` and `async with warden.operation(…)`: begins, waits, completes."""

    def __init__(self, policy, asked):
        self._policy = policy
        self._asked = asked
        self._op = None

    def __enter__(self):
        self._op = self._policy.begin_here(*self._asked)
        self._policy.wait(self._op)
        return self._op

    def __exit__(self, kind, error, trace):
        self._op.complete()
        return False

    async def __aenter__(self):
        self._op = self._policy.begin_here(*self._asked)
        await self._policy.wait_async(self._op)
        return self._op

    async def __aexit__(self, kind, error, trace):
        self._op.complete()
        return False


def guarded(policy_of, asked):
    """Return a decorator: each call of the function, plain or async, is an operation."""

    async def _async():
        pass

    def decorate(function):
        if isinstance(function, type(_async)):  # a generator function: `async def`

            async def call(*args, **kwargs):
                async with Guard(policy_of(), asked):
                    return await function(*args, **kwargs)

        else:

            def call(*args, **kwargs):
                with Guard(policy_of(), asked):
                    return function(*args, **kwargs)

        return call

    return decorate
