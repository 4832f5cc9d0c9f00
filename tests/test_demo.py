"""The demo in a pipe: what it shows, and that it ends by itself."""

import time

from cli_process import PYTHON, run

DEMO = [*PYTHON, "boardwarden.demo"]


async def test_the_demo_ends_by_itself():
    begin = time.monotonic()
    done = await run(command=DEMO, DEMO_SECONDS="3")
    took = time.monotonic() - begin
    assert (done.status, done.err) == (0, "")
    first, *lines = done.out.splitlines()
    assert first.startswith("A simulated board runs busy_leak.py; its agent takes ")
    assert first.endswith("/s.")
    assert len(first) <= 80
    assert 3 <= len(lines) <= 5
    assert all(line.startswith("up ") and len(line) <= 80 for line in lines)
    assert 3 < took < 15


async def test_a_wrong_duration_is_one_sentence():
    done = await run(command=DEMO, DEMO_SECONDS="long")
    assert done.status == 2
    assert done.err == "boardwarden: DEMO_SECONDS must be a number of seconds, not 'long'.\n"
