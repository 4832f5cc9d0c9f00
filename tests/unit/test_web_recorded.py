"""What a recording gives the page's graphs."""

from __future__ import annotations

from datetime import datetime, timezone

from boardwarden.models import Cpu, Identity, Memory, Status
from boardwarden.recording import schema
from boardwarden.recording.store import Store
from boardwarden.web import past

NOW = 1_800_000_000.0


def _status(back_s, live, boot=1):
    at = datetime.fromtimestamp(NOW - back_s, timezone.utc)
    return Status(
        memory=Memory(total_bytes=900, used_bytes=live + 5, live_bytes=live),
        cpu=Cpu(usage=0.5, uptime_s=1_000_000 - back_s),
        last_updated=at,
        board=Identity(boot_id=boot),
    )


def _recording(path, samples):
    store = Store(path)
    store.open()
    store.write([schema.sample(address, status) for address, status in samples])
    store.close()
    return path


def test_a_minutes_highest_figure_is_a_point_and_ten_minutes_before_the_last_day(tmp_path):
    samples = [
        *(("here", _status(back, live)) for back, live in ((3000, 1), (2990, 7), (2950, 3))),
        ("here", _status(2930, 2)),
        *(("here", _status(100_000 - more, 4)) for more in (0, 300, 700)),
        ("here", _status(10 * 86_400, 9)),
        ("there", _status(50, 8)),
    ]
    samples.sort(key=lambda each: each[1].last_updated)
    found = past.read_recorded(_recording(tmp_path / "r.bwr", samples), "here", NOW)
    assert [(NOW - at, value) for at, value in found["live"]] == [
        (100_000, 4),
        (99_300, 4),
        (3000, 7),
        (2930, 2),
    ]
    assert [value for _, value in found["used"]] == [9, 9, 12, 7]
    assert {value for _, value in found["cpu"]} == {0.5}
    assert found["largest"] == found["fragmentation"] == []


def test_a_recording_of_others_or_none_gives_no_points(tmp_path):
    path = _recording(tmp_path / "r.bwr", [("there", _status(50, 8))])
    assert not any(past.read_recorded(path, "here", NOW).values())
    assert not any(past.read_recorded(tmp_path / "none", "here", NOW).values())
