"""What the board granted, as users read it; and what they ask for, as the board understands it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from boardwarden import (
    LEARNED,
    Action,
    Denied,
    Lease,
    Level,
    NotFound,
    OperationState,
    Priority,
    RequestRefused,
    ResourceType,
    _clock,
    _conversion,
    _quantities,
    connect,
    models,
)
from boardwarden._protocol import diagnosis
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

NAN = float("nan")


@pytest.fixture(autouse=True)
def _three_seconds_after_the_rows_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clock, "passed_s", lambda: 103.0)


# --- models -------------------------------------------------------------------------------------


def test_a_lease_row_becomes_a_lease() -> None:
    lease = _conversion.lease_from_row((7, 0, 8192, "ota", 2, 3, 60, 5000, False, None), 100.0)
    assert lease.resource is ResourceType.MEMORY
    assert lease.priority is Priority.HIGH
    assert (lease.id, lease.amount, lease.owner, lease.session) == (7, 8192, "ota", 3)
    assert lease.remaining_s == 2.0
    assert not lease.committed
    assert json.loads(json.dumps(lease.to_dict())) == {
        "id": 7,
        "resource": "memory",
        "amount": 8192,
        "owner": "ota",
        "priority": "high",
        "session": 3,
        "granted_s": 60,
        "committed": False,
        "mount": None,
        "remaining_s": 2.0,
    }


def test_remaining_time_is_never_negative_and_none_without_an_end() -> None:
    assert (
        _conversion.lease_from_row((1, 0, 1, "", 0, None, 0, 2999, 1, None), 100.0).remaining_s
        == 0.0
    )
    assert (
        _conversion.lease_from_row((1, 0, 1, "", 0, None, 0, None, 1, None), 100.0).remaining_s
        is None
    )
    assert Lease().remaining_s is None


def test_cpu_time_is_a_fraction_of_a_core() -> None:
    lease = _conversion.lease_from_row((1, 2, 250, "", 1, None, 0, None, True, None), 0.0)
    assert (lease.resource, lease.amount, lease.committed) == (ResourceType.CPU_TIME, 0.25, True)


def test_an_operation_row_becomes_an_operation() -> None:
    row = (5, "flash", 3, 2, 420, "½", None, 60, 3500, 4096, "preempted")
    found = _conversion.operation_from_row(row, 100.0).to_dict()
    assert found == {
        "id": 5,
        "name": "flash",
        "priority": "critical",
        "state": "stopping",
        "progress": 0.42,
        "text": "½",
        "session": None,
        "began_s": 60,
        "memory_bytes": 4096,
        "why": "preempted",
        "remaining_s": 0.5,
    }


def test_rows_become_a_session_a_meter_and_a_memory_profile() -> None:
    session = _conversion.session_from_row((9, "host 77", 65536, None, 2, 10_000), 100.0)
    assert session.to_dict() == {
        "id": 9,
        "name": "host 77",
        "memory_bytes": 65536,
        "storage_bytes": None,
        "operations": 2,
        "remaining_s": 7.0,
    }
    meter = _conversion.meter_from_row((1, "uploader", 0, 1, 300, 25, 90, 7), 0.0)
    assert (meter.kind, meter.cpu, meter.worst_s, meter.steps) == ("task", 0.3, 0.025, 90)
    thread = _conversion.meter_from_row((2, "reader", 1, 1, None, None, None, None), 0.0)
    assert (thread.kind, thread.cpu, thread.worst_s) == ("thread", None, None)
    need = _conversion.memory_profile_from_row(("flash", 12, 4096, 8192), 0.0)
    assert need.to_dict() == {
        "name": "flash",
        "count": 12,
        "typical_bytes": 4096,
        "worst_bytes": 8192,
    }


def test_thresholds_are_in_the_units_of_the_status() -> None:
    row = (0, 750, 900, 650, 1500, 1, 2, 912)
    assert _conversion.threshold_from_row(row, 0.0).to_dict() == {
        "metric": "memory",
        "warn": 0.75,
        "critical": 0.9,
        "clear": 0.65,
        "hold_s": 1.5,
        "action": "protect",
        "level": "critical",
        "value": 0.912,
    }
    rssi = _quantities.THRESHOLD_METRICS.index("rssi_dbm")
    falling = _conversion.threshold_from_row((rssi, -70, None, -60, 0, 0, 0, None), 0.0)
    assert (falling.warn, falling.critical, falling.clear, falling.value) == (-70, None, -60, None)
    lag = _conversion.threshold_from_row(
        (_quantities.THRESHOLD_METRICS.index("loop_lag"), 20, 50, 10, 0, 0, 1, 21), 0.0
    )
    assert (lag.warn, lag.value) == (0.02, 0.021)


def test_limits_of_this_and_of_an_older_board() -> None:
    limits = _conversion.limits_from_row([4, 300_000, 100, 5000])
    assert limits.to_dict() == {
        "max_operations": 4,
        "operation_timeout_s": 300.0,
        "memory_reserve": 0.1,
        "overrun_s": 5.0,
    }
    assert _conversion.limits_from_row([4, 300_000, 100]).overrun_s is None
    assert _conversion.limits_from_row([8, None, None, 1, 2, 3]).max_operations == 8
    assert _conversion.limits_from_row(None).max_operations is None


@pytest.mark.parametrize(
    ("row", "subject", "value"),
    [
        ((0, "lease", 10, 500, 7, "expired", 8192), 7, 8192),
        ((0, "threshold", 10, 500, 0, "critical", 912), "memory", 0.912),
        ((0, "collect", 10, 500, 0, None, 5000), "memory", 5000),
        ((0, "overrun", 10, 500, 3, "uploader", 400), 3, 0.4),
        ((0, "hang", 10, 500, 0, "sensor", 5200), "begun", 5.2),
        ((0, "hang", 10, 500, 9, "sensor", 5200), 9, 5.2),
        ((0, "exception", 10, 500, 0, "sensor: OSError", 2), "task", 2),
        ((0, "exception", 10, 500, 9, "sensor: OSError", 2), 9, 2),
        ((0, "denied", 10, 500, None, "cpu_time", 400), None, 0.4),
        ((0, "denied", 10, 500, None, "memory", 400), None, 400),
        ((0, "threshold", 10, 500, 99, "warn", 5), "99", 5),
        ((0, "a later kind", 10, 500, None, None, None), None, None),
    ],
)
def test_an_event_message_becomes_an_event(row: tuple[Any, ...], subject: Any, value: Any) -> None:
    event = _conversion.event_from_row(row, 2)
    assert (event.number, event.kind, event.detail) == (0, row[1], row[5])
    assert (event.uptime_s, event.missed) == (10.5, 2)
    assert (event.subject, event.value) == (subject, value)


def test_unknown_enum_numbers_of_a_newer_board_stay_numbers() -> None:
    lease = _conversion.lease_from_row((1, 9, 5, "", 7, None, 0, None, False, None), 0.0)
    assert (lease.resource, lease.priority, lease.amount) == (9, 7, 5)
    assert lease.to_dict()["resource"] == 9
    assert (
        _conversion.operation_from_row((1, "x", 0, 99, 0, "", None, 0, 1, None, None), 0.0).state
        == 99
    )
    later = _conversion.threshold_from_row((77, 5, None, 4, 0, 9, 8, 3), 0.0)
    assert (later.metric, later.warn, later.action, later.level) == ("77", 5, 9, 8)
    assert _conversion.meter_from_row((1, "x", 5, 1, None, None, None, None), 0.0).kind == "5"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ResourceType, ids.RESOURCES),
        (Priority, ids.PRIORITIES),
        (OperationState, ids.OPERATION_STATES),
        (Level, ids.LEVELS),
        (Action, ids.ACTIONS),
    ],
)
def test_enum_names_equal_those_of_the_schema(kind: Any, words: tuple[str, ...]) -> None:
    assert [models.enum_name(each) for each in kind] == list(words)
    assert [int(each) for each in kind] == list(range(len(words)))


def test_priorities_have_an_order() -> None:
    assert Priority.LOW < Priority.NORMAL < Priority.HIGH < Priority.CRITICAL


# --- arguments ----------------------------------------------------------------------------------

MEMORY, STORAGE, CPU = ResourceType.MEMORY, ResourceType.STORAGE, ResourceType.CPU_TIME


def test_an_allocation_is_converted_to_the_boards_units() -> None:
    asked = _conversion.allocation(MEMORY, 8192, "ota", Priority.HIGH, 60.0, None)
    assert asked == (0, 8192, "ota", 2, 60_000, None)
    asked = _conversion.allocation(CPU, 0.25, "", Priority.LOW, None, None)
    assert asked == (2, 250, "", 0, None, None)
    assert _conversion.allocation(STORAGE, 1, "", 1, 0.0015, "/sd")[4:] == (2, "/sd")
    assert _conversion.allocation(MEMORY, 1, "", 1, 2**30 / 1000 - 0.001, None)[4] == 2**30 - 1


def test_a_long_name_is_cut_at_a_character_as_on_the_board() -> None:
    assert _conversion.text("owner", "ä" * 20) == "ä" * 12
    assert _conversion.text("owner", "日本語" * 4) == "日本語日本語日本"
    assert _conversion.text("owner", "\ud800x") == "?x"


@pytest.mark.parametrize(
    "wrong",
    [
        *({"amount": wrong} for wrong in (0, -1, 2**30, 1.5, "8k", True, None, NAN)),
        *({"resource": CPU, "amount": wrong} for wrong in (0, 1.001, 250, NAN, "1", -0.1)),
        *({"resource": wrong} for wrong in (4, -1, "memory", None, True)),
        *({"owner": wrong} for wrong in (None, 5, b"x", "a\x1b[31m", "\x00", "\x7f", "\x9b")),
        *({"rank": wrong} for wrong in (4, -1, "high", None)),
        *({"ttl": wrong} for wrong in (0, -1, NAN, float("inf"), "60", 0.0001, 2**30)),
        *({"mount": "/sd"}, {"resource": STORAGE, "mount": 5}),
        *({"resource": STORAGE, "mount": wrong} for wrong in ("/" + "x" * 24, "/\udcff", "/\x1b")),
    ],
    ids=str,
)
def test_an_invalid_allocation_raises_value_error(wrong: dict[str, Any]) -> None:
    given = {"resource": MEMORY, "amount": 1, "owner": "", "rank": 1, "ttl": 1.0, "mount": None}
    with pytest.raises(ValueError, match=r".{20}"):
        _conversion.allocation(**{**given, **wrong})


def test_an_operation_is_converted_to_the_boards_units() -> None:
    assert _conversion.operation("flash", 2, 30.0, 4096, 0.25) == ("flash", 2, 30_000, 4096, 250)
    assert _conversion.operation("x", 0, None, None, 0) == ("x", 0, None, None, 0)
    assert _conversion.operation("x", 0, None, LEARNED, 0)[3] == -1


@pytest.mark.parametrize(
    "wrong",
    [
        *({"name": wrong} for wrong in ("", None, 5, "a\nb")),
        *({"timeout": wrong} for wrong in (0, -1, NAN)),
        *({"memory": wrong} for wrong in (0, -2, -1.0, 1.5, "4k")),
        *({"wait": wrong} for wrong in (-1, NAN, "1")),
        {"rank": 9},
    ],
    ids=str,
)
def test_an_invalid_operation_raises_value_error(wrong: dict[str, Any]) -> None:
    given = {"name": "x", "rank": 1, "timeout": None, "memory": None, "wait": 0.0}
    with pytest.raises(ValueError, match=r".{20}"):
        _conversion.operation(**{**given, **wrong})


@pytest.mark.parametrize("wrong", [None, 0, -1, 0.019, 601, NAN, float("inf"), 10**30, "1", True])
async def test_an_interval_or_a_budget_that_makes_no_sense_is_not_sent(wrong: Any) -> None:
    peer = FakeBoard()
    async with connect(FakeTransport(peer)) as board:
        with pytest.raises(ValueError, match="interval must be"):
            await board.start_monitoring(wrong)
        with pytest.raises(ValueError, match="budget must be"):
            await board.start_monitoring(1.0, 2 if wrong in (None, 0.019) else wrong)
    assert peer.done == []


def test_limits_are_converted_to_the_boards_units() -> None:
    assert _conversion.limits(None, None, None, None) == (None, None, None, None)
    assert _conversion.limits(8, 0.5, 0.25, 5) == (8, 500, 250, 5000)
    for wrong in ((0, None, None, None), (None, 0, None, None), (None, None, 0.95, None)):
        with pytest.raises(ValueError, match="must be"):
            _conversion.limits(*wrong)
    for wrong in (-1, 601):
        with pytest.raises(ValueError, match="overrun"):
            _conversion.limits(None, None, None, wrong)


def test_a_threshold_is_converted_to_the_boards_units() -> None:
    threshold = _conversion.threshold
    assert threshold("memory", 0.75, 0.9, 0.65, 1.0, Action.PROTECT) == (
        *(0, 750, 900, 650, 1000, 1),
    )
    lag = _quantities.THRESHOLD_METRICS.index("loop_lag")
    assert threshold("loop_lag", 0.02, None, None, 0, 0) == (lag, 20, None, None, 0, 0)
    rssi = _quantities.THRESHOLD_METRICS.index("rssi_dbm")
    assert threshold("rssi_dbm", -70, -80, -60, 0, 0) == (rssi, -70, -80, -60, 0, 0)
    assert threshold("memory_exhausted_in", 60, 10, 120, 0, 0)[1:4] == (60, 10, 120)
    assert threshold("memory", None, None, None, 0, 0) == (0, None, None, None, 0, 0)


@pytest.mark.parametrize(
    ("metric", "levels", "says"),
    [
        ("heat", (1, None, None), "no metric"),
        (["memory"], (1, None, None), "no metric"),
        ("memory", (75, None, None), "fraction"),
        ("memory", (-0.1, None, None), "fraction"),
        ("memory", (None, None, 0.5), "needs warn or critical"),
        ("memory", (0.5, 0.9, 0.7), "one way"),
        ("memory", (0.9, 0.8, 0.7), "one way"),
        ("tasks", ("5", None, None), "number"),
        ("rssi_dbm", (70, None, None), "-200"),
        ("loop_lag", (2**30, None, None), "number"),
    ],
)
def test_an_invalid_threshold_raises_value_error(metric: Any, levels: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _conversion.threshold(metric, *levels, 0, Action.TELL)
    with pytest.raises(ValueError, match="hold"):
        _conversion.threshold("memory", 0.5, None, None, -1, Action.TELL)
    with pytest.raises(ValueError, match="Action"):
        _conversion.threshold("memory", 0.5, None, None, 0, 3)


def test_no_request_is_longer_than_the_boards_limit() -> None:
    from boardwarden._protocol import messages

    most = 2**30 - 1
    longest = [
        (ids.ALLOCATE, _conversion.allocation(STORAGE, most, "x" * 99, 3, 1e6, "/" + "x" * 23)),
        (ids.BEGIN, _conversion.operation("x" * 99, 3, 1e6, most, 1e6)),
        (ids.SET_THRESHOLD, _conversion.threshold("tasks", most, most, 0, 600, 2)),
        (ids.SET_LIMITS, _conversion.limits(8, 1e6, 0.9, 600)),
    ]
    for operation, asked in longest:
        assert len(messages.request(2**29, 65_535, operation, asked)) <= ids.MAX_REQUEST


# --- refusals -----------------------------------------------------------------------------------


def test_a_denial_has_all_fields_of_the_boards_reply() -> None:
    error = diagnosis.refusal(ids.DENIED, ["memory", 4096, 1500, [3, 9]])
    assert isinstance(error, Denied)
    assert (error.reason, error.available, error.retry_after_s) == ("memory", 4096, 1.5)
    assert error.blockers == (3, 9)
    assert str(error) == (
        "Denied: not enough memory is free; 4096 bytes are available; in the way: 3, 9; "
        "try again in 1.5 s."
    )


def test_a_denial_of_cpu_time_has_its_amounts_as_fractions() -> None:
    error = diagnosis.refusal(ids.DENIED, ["cpu_time", 150, None, []])
    assert isinstance(error, Denied)
    assert (error.available, error.retry_after_s, error.blockers) == (0.15, None, ())


@pytest.mark.parametrize(
    "value", [None, 5, [], [None], [5, "x", [], 7], ["a later reason"], ["x", 1, 1, ["y", 2]]]
)
def test_a_malformed_denial_is_still_a_denial(value: Any) -> None:
    error = diagnosis.refusal(ids.DENIED, value)
    assert isinstance(error, Denied)
    assert str(error).startswith("Denied: ")
    assert all(isinstance(blocker, int) for blocker in error.blockers)


def test_refusals_other_than_denials_map_to_their_exceptions() -> None:
    assert isinstance(diagnosis.refusal(ids.NOT_FOUND, None), NotFound)
    assert "failed with OSError" in str(diagnosis.refusal(ids.FAILED, "OSError"))
    assert "no memory to say more" in str(diagnosis.refusal(ids.FAILED, None))
    assert "newer agent" in str(diagnosis.refusal(ids.UNKNOWN_REQUEST, None))
    other = diagnosis.refusal(77, None)
    assert type(other) is RequestRefused
    assert (other.code, str(other)) == (77, "The board refuses the request with code 77.")
