# targets: unix frozen cpython
"""The harness runs `async def` tests, where there is an asyncio."""

from harness import run


def _fails():
    raise ValueError("on purpose")


def test_an_async_test_runs_to_its_end():
    ran = []

    async def test_inner():
        ran.append(1)

    assert run({"test_inner": test_inner, "helper": _fails}, quiet=True) == 0
    assert ran == [1]
