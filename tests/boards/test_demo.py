"""The demo in a pipe: the story that it tells, and its figures at the end."""

import re
import time

from cli_process import PYTHON, run

DEMO = [*PYTHON, "boardwarden.demo"]
_BARE = re.compile(r"Without an agent: died of MemoryError after ([0-9.]+) s \(exit status 1\),")
_GUARDED = re.compile(
    r"With boardwarden: still working after (\d+) s, (\d+) readings, (\d+) alarm checks;\n"
    r"  (\d+) warnings, (\d+) times critical, ([0-9.]+) MB given back, "
    r"(\d+) refusals, (\d+) preemptions."
)


async def test_the_board_with_the_agent_outlives_the_one_without():
    begin = time.monotonic()
    done = await run(command=DEMO)
    took = time.monotonic() - begin
    assert (done.status, done.err) == (0, "")
    assert all(len(line) <= 80 for line in done.out.splitlines())
    bare, guarded = _BARE.search(done.out), _GUARDED.search(done.out)
    assert bare, done.out
    assert guarded, done.out
    died_after, lived = float(bare[1]), float(guarded[1])
    assert died_after * 2 < lived == 25
    readings, checks, warnings, critical, given, refusals, preemptions = map(
        float, guarded.groups()[1:]
    )
    assert readings > 800
    assert checks > 90
    assert warnings >= 2
    assert critical >= 1
    assert given >= 0.5
    assert refusals >= 1
    assert preemptions >= 1
    for told in ("warn: ", "collected ", "drop_pictures gave back", "drop_readings gave back"):
        assert told in done.out
    assert 25 < took < 40


async def test_a_short_demo_reports_that_both_boards_live():
    done = await run(command=DEMO, DEMO_SECONDS="2")
    assert (done.status, done.err) == (0, "")
    assert "Without an agent: not dead yet after 2 s, give it longer" in done.out
    assert "With boardwarden: still working after 2 s" in done.out


async def test_an_invalid_duration_is_one_sentence():
    done = await run(command=DEMO, DEMO_SECONDS="long")
    assert done.status == 2
    assert done.err == "boardwarden: DEMO_SECONDS must be a number of seconds, not 'long'.\n"
