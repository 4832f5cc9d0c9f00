"""The demo in a pipe: the two stories that it tells, and their figures at the end."""

import re
import time

from cli_process import PYTHON, run

DEMO = [*PYTHON, "boardwarden.demo"]
_BARE = re.compile(r"Without an agent: died of MemoryError after ([0-9.]+) s \(exit status 1\),")
_GUARDED = re.compile(
    r"With boardwarden: still working after (\d+) s, (\d+) (?:readings|pages), "
    r"(\d+) alarm checks;\n"
    r"  (\d+) warnings?, (\d+) times? critical, ([0-9.]+) ([MK])B given back, "
    r"(\d+) refusals?, (\d+) preemptions?\."
)


async def test_the_boards_with_the_agent_outlive_those_without():
    begin = time.monotonic()
    done = await run(command=DEMO)
    took = time.monotonic() - begin
    assert (done.status, done.err) == (0, "")
    assert all(len(line) <= 80 for line in done.out.splitlines())
    _, leaking, fragmenting = done.out.split("Two simulated boards")
    _check_leaking(leaking)
    _check_fragmenting(fragmenting)
    assert 50 < took < 80


def _check_leaking(out):
    bare, guarded = _BARE.search(out), _GUARDED.search(out)
    assert bare, out
    assert guarded, out
    died_after, lived = float(bare[1]), float(guarded[1])
    assert died_after * 2 < lived == 25
    readings, checks, warnings, critical, given, refusals, preemptions = _counts(guarded)
    assert readings > 800
    assert checks > 90
    assert warnings >= 2
    assert critical >= 1
    assert given >= 0.5
    assert refusals >= 1
    assert preemptions >= 1
    for told in ("warn: ", "collected ", "drop_pictures gave back", "drop_readings gave back"):
        assert told in out


def _counts(guarded):
    """Return what the last line counts; what was given back in MB."""
    *counts, given, unit, refusals, preemptions = guarded.groups()[1:]
    mb = float(given) if unit == "M" else float(given) / 1024
    return [*map(float, counts), mb, float(refusals), float(preemptions)]


def _check_fragmenting(out):
    bare, guarded = _BARE.search(out), _GUARDED.search(out)
    assert bare, out
    assert guarded, out
    died_after, lived = float(bare[1]), float(guarded[1])
    assert died_after * 1.5 < lived == 25
    pages, checks, warnings, critical, given, _, preemptions = _counts(guarded)
    assert pages > 20
    assert checks > 90
    assert (critical, preemptions) == (0, 0)  # it is not live memory that is short
    assert warnings >= 1
    assert given >= 0.2
    for told in ("warn: largest free block ", "drop_records gave back ", ", frag "):
        assert told in out


async def test_a_short_demo_reports_that_both_boards_live():
    done = await run(command=DEMO, DEMO_SECONDS="2")
    assert (done.status, done.err) == (0, "")
    assert done.out.count("Without an agent: not dead yet after 2 s, give it longer") == 2
    assert done.out.count("With boardwarden: still working after 2 s") == 2


async def test_an_invalid_duration_is_one_sentence():
    done = await run(command=DEMO, DEMO_SECONDS="long")
    assert done.status == 2
    assert done.err == "boardwarden: DEMO_SECONDS must be a number of seconds, not 'long'.\n"
