"""A real board and a replay of its policy over its recording decide the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_process import run
from places import APPS

from boardwarden.recording.reading import Recording

SWINGS = f"sim:{APPS / 'swings.py'}"
QUIET = '[[threshold]]\nmetric = "memory"\noff = true\n'  # the board's own protection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


async def test_a_real_board_and_a_replay_of_its_policy_decide_the_same(path: Path) -> None:
    recorded = await run("record", str(path), "--board", SWINGS, "--for", "8s")
    assert recorded.status == 0, recorded.err
    policy = path.with_name("warden.toml")
    policy.write_text(
        f'{QUIET}[[threshold]]\nmetric = "live_bytes"\n'
        'warn = 600000\ncritical = 1200000\nclear = 300000\nhold = "120 ms"\n'
    )
    done = await run("replay", str(path), "--policy", str(policy), "--json")
    assert done.status == 0, done.err
    *decided, summary = [json.loads(line) for line in done.out.splitlines()]
    with Recording(path) as recording:
        (span,) = recording.spans()
        begin = next(recording.samples(span)).uptime_s
        own = [each.event for each in recording.events(span) if each.event.kind == "threshold"]
    own = [event for event in own if event.uptime_s >= begin]

    would = [each["event"] for each in decided]
    names = ("subject", "detail", "value")
    assert [[event[name] for name in names] for event in would] == [
        [getattr(event, name) for name in names] for event in own
    ]
    for event, did in zip(would, own, strict=True):  # an event's time is when it was told of
        assert 0 <= did.uptime_s - event["uptime_s"] < 0.25
    assert len(own) >= 4
    assert summary["would"] == summary["did"]
