"""A policy over recordings whose outcome is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_process import run
from recorded import (
    BOOT,
    LEASE,
    LIMITS,
    NOON,
    OPERATION,
    QUIET,
    change,
    decisions_of,
    replayed,
    sample,
)

from boardwarden import policy_file
from boardwarden.errors import PolicyError, RecordingError
from boardwarden.grants import Event
from boardwarden.models import Identity
from boardwarden.recording import schema
from boardwarden.recording.reading import Recording
from boardwarden.recording.schema import Row
from boardwarden.replaying import agent
from boardwarden.replaying.replay import replay

# --- thresholds ---------------------------------------------------------------------------------


LEVELS = 'warn = 0.5\ncritical = 0.8\nclear = 0.4\nhold = "2 s"\n'
CPU = f'{QUIET}[[threshold]]\nmetric = "cpu"\n{LEVELS}'


def test_levels_hysteresis_and_hold_work_as_on_the_board(path: Path) -> None:
    load = [0.1, 0.6, 0.6, 0.6, 0.9, 0.9, 0.9, 0.7, 0.45, 0.45, 0.4, 0.1]
    found = replayed(path, CPU, *(sample(at, cpu=share) for at, share in enumerate(load, 1)))
    assert decisions_of(found) == [
        (4, "threshold", "cpu", "warn"),
        (7, "threshold", "cpu", "critical"),
        (9, "threshold", "cpu", "warn"),
        (11, "threshold", "cpu", "clear"),
    ]
    first = found.decisions[0]
    assert (first.at, first.event.value, first.address, first.boot_id) == (NOON + 4, 0.6, "sim", 1)
    assert (found.samples, found.seconds, found.boards) == (12, 11, ["sim"])


def test_a_gap_breaks_the_hold_and_a_restart_resets_it(path: Path) -> None:
    busy = [sample(at, cpu=0.6) for at in (1, 2)]
    later = [sample(at, cpu=0.6) for at in (9, 10)]
    assert decisions_of(replayed(path, CPU, *busy, *later)) == []
    other = schema.boot("sim", Identity(boot_id=2))
    path.unlink()
    again = [Row(other, row.table, row.values) for row in later]
    assert decisions_of(replayed(path, CPU, *busy, *again)) == []
    path.unlink()
    lost = schema.link(BOOT, NOON + 2.5, "lost")
    assert decisions_of(replayed(path, CPU, *busy, lost, sample(3, cpu=0.6))) == []
    path.unlink()
    assert len(decisions_of(replayed(path, CPU, *busy, sample(3, cpu=0.6)))) == 1


@pytest.mark.parametrize(
    ("metric", "level", "column", "figure"),
    [
        ("memory", "0.9", "live_bytes", 95_000),
        ("available_bytes", "20000", "live_bytes", 95_000),
        ("live_bytes", "90k", "live_bytes", 95_000),
        ("largest_free_block_bytes", "1k", "largest_free_block_bytes", 100),
        ("loop_lag", "0.2", "loop_lag_s", 0.2),
        ("loop_lag_worst", "0.2", "loop_lag_worst_s", 0.25),
        ("tasks", "5", "tasks", 5),
        ("threads", "2", "threads", 3),
        ("connected", "0", "connected", 0),
        ("rssi_dbm", "-80", "rssi_dbm", -85),
        ("overhead", "0.05", "overhead", 0.06),
        ("link_bytes_per_s", "100", "link_bytes_per_s", 101),
        ("dropped_frames", "1", "dropped_frames", 1),
        ("bad_frames", "1", "bad_frames", 2),
        ("faults", "1", "faults", 1),
        ("fragmentation", "0.9", "largest_free_block_bytes", 100),
        ("system_heap_free_bytes", "20k", "system_heap_free_bytes", 20_000),
        ("system_heap_largest_free_block_bytes", "16k", "system_heap_largest_free_block_bytes", 9),
        ("system_heap_low_water_bytes", "10k", "system_heap_low_water_bytes", 9000),
    ],
)
def test_each_metric_is_read_from_the_recording(
    path: Path, metric: str, level: str, column: str, figure: float
) -> None:
    quiet = "" if metric == "memory" else QUIET
    policy = f'{quiet}[[threshold]]\nmetric = "{metric}"\nwarn = "{level}"\n'
    found = replayed(path, policy, sample(1), sample(2, **{column: figure}), sample(3))
    assert decisions_of(found)[0][:2] == (2, "threshold")
    assert found.decisions[0].event.detail == "warn"


def test_storage_is_evaluated_in_blocks_as_on_the_board(path: Path) -> None:
    mount = {"mount": "/", "total_bytes": 4096 * 100, "used_bytes": 4096 * 10, "block_bytes": 4096,
             "available_bytes": 4096 * 90}  # fmt: skip
    policy = f'{QUIET}[[threshold]]\nmetric = "storage"\nwarn = "50 %"\n'
    found = replayed(
        path,
        policy,
        change(0, "storage", None, [mount]),
        *(sample(at) for at in range(1, 5)),
        change(2.05, "storage", None, [{**mount, "used_bytes": 4096 * 50}]),  # told with a sample
    )
    assert decisions_of(found) == [(2, "threshold", "storage", "warn")]


def test_a_forecast_comes_from_the_recorded_history(path: Path) -> None:
    policy = f'{QUIET}[[threshold]]\nmetric = "memory_exhausted_in"\nwarn = "200 s"\n'
    leak = (sample(at, live_bytes=20_000 + 500 * at) for at in range(1, 100))
    found = replayed(path, policy, *leak)
    (crossed,) = found.decisions
    assert crossed.event.detail == "warn"
    assert 10 <= crossed.event.uptime_s <= 20  # ten points of a second, held for four samples
    left = (100_000 - 20_000) / 500 - crossed.event.uptime_s
    assert crossed.event.value == pytest.approx(left, rel=0.15)


def test_the_boards_default_thresholds_apply_where_the_file_has_none(path: Path) -> None:
    own = {"metric": "cpu", "warn": 0.5, "critical": None, "clear": 0.5, "hold_s": 0.0,
           "action": "tell", "level": "clear", "value": None}  # fmt: skip
    found = replayed(
        path,
        "[limits]\nmax_operations = 2\n",
        change(0, "thresholds", None, [own]),
        *(sample(at, cpu=0.6, live_bytes=99_000) for at in range(1, 4)),
    )
    assert decisions_of(found) == [(1, "threshold", "cpu", "warn")]


# --- what the board does then -------------------------------------------------------------------


PROTECT = '[[threshold]]\nmetric = "memory"\nwarn = 0.7\ncritical = 0.9\naction = "protect"\n'


def test_at_critical_low_operations_end_and_requests_below_high_are_refused(path: Path) -> None:
    found = replayed(
        path,
        PROTECT,
        change(0, "limits", None, LIMITS),
        sample(1),
        change(1.5, "operation", 7, {**OPERATION, "name": "sync", "priority": "low"}),
        change(1.5, "operation", 8, OPERATION),
        sample(2, live_bytes=75_000, available_bytes=15_000),
        sample(3, live_bytes=95_000, available_bytes=5_000),
        change(3.5, "lease", 4, {**LEASE, "amount": 100}),
        change(3.5, "lease", 5, {**LEASE, "amount": 100, "priority": "high"}),
        sample(4, live_bytes=10_000),
        change(4.5, "lease", 4, None),
    )
    assert decisions_of(found) == [
        (2, "threshold", "memory", "warn"),
        (2, "collect", "memory", None),
        (3, "threshold", "memory", "critical"),
        (3, "operation", 7, "preempted"),
        (3, "collect", "memory", None),
        (3.5, "denied", 4, "pressure"),
        (4, "threshold", "memory", "clear"),
    ]
    names = [decision.name for decision in found.decisions]
    assert names == [None, None, None, "sync", None, "ota", None]
    assert [found.decisions[place].event.value for place in (1, 4)] == [10_000, 0]  # of garbage


def test_half_a_minute_of_critical_resets_the_board_once(path: Path) -> None:
    policy = PROTECT.replace("protect", "reset")
    found = replayed(path, policy, *(sample(at, live_bytes=95_000) for at in range(1, 36)))
    resets = [each for each in decisions_of(found) if each[1] == "reset"]
    assert resets == [(31, "reset", "memory", "about to"), (32, "reset", None, "done")]
    assert [each[0] for each in decisions_of(found) if each[3] == "critical"] == [1, 33]


# --- limits -------------------------------------------------------------------------------------


def test_a_larger_reserve_refuses_leases_that_were_granted(path: Path) -> None:
    granted = (sample(1), change(1.5, "lease", 4, LEASE), sample(2), change(2.5, "lease", 5, LEASE))
    assert decisions_of(replayed(path, QUIET, *granted)) == []  # 10 % of the heap, as by default
    path.unlink()
    policy = f'{QUIET}[limits]\nmemory_reserve = "40 %"\n'
    found = replayed(path, policy, *granted, sample(3))
    assert decisions_of(found) == [(2.5, "denied", 5, "memory")]
    assert found.decisions[0].event.value == 20_000
    path.unlink()
    taken = change(2, "lease", 4, {**LEASE, "committed": True})  # it shows in what is used
    assert decisions_of(replayed(path, policy, *granted[:3], taken, *granted[3:])) == []


def test_lower_limits_deny_preempt_and_time_out_operations(path: Path) -> None:
    given = [
        change(0, "limits", None, LIMITS),
        sample(1),
        change(1.2, "operation", 7, OPERATION),
        change(1.4, "operation", 8, {**OPERATION, "name": "log"}),
        change(1.6, "operation", 9, {**OPERATION, "priority": "high", "name": "alarm"}),
        sample(2),
        change(2.5, "operation", 9, None),
        *(sample(at) for at in range(3, 10)),
    ]
    assert decisions_of(replayed(path, QUIET, *given)) == []
    path.unlink()
    found = replayed(path, f"{QUIET}[limits]\nmax_operations = 1\n", *given)
    assert [(each.event.kind, each.name, each.event.detail) for each in found.decisions][:2] == [
        ("denied", "log", "operations"),
        ("operation", "flash", "preempted"),
    ]
    path.unlink()
    found = replayed(path, f'{QUIET}[limits]\noperation_timeout = "3 s"\n', *given)
    assert [(each.name, each.event.detail) for each in found.decisions] == [
        ("flash", "timed out"),
        ("log", "timed out"),
        ("flash", "overdue"),
        ("log", "overdue"),
    ]


def test_a_quota_refuses_what_exceeds_it(path: Path) -> None:
    session = {"name": "upload", "memory_bytes": None, "storage_bytes": None, "operations": None}
    given = (
        change(0, "session", 1, session),
        sample(1),
        change(1.5, "lease", 4, {**LEASE, "session": 1}),
    )
    assert decisions_of(replayed(path, QUIET, *given, sample(2))) == []
    path.unlink()
    found = replayed(path, f'{QUIET}[session.upload]\nmemory = "10k"\n', *given, sample(2))
    assert decisions_of(found) == [(1.5, "denied", 4, "quota:memory")]


# --- the whole ----------------------------------------------------------------------------------


def test_a_window_and_boards_are_chosen_and_an_empty_choice_is_an_error(path: Path) -> None:
    other = schema.boot("tcp://b:1", Identity(boot_id=9))
    given = [*(sample(at, cpu=0.9) for at in range(1, 20)), sample(5, other, cpu=0.9)]
    found = replayed(path, CPU, *given, window=(NOON + 4, NOON + 8))
    assert (found.samples, found.boards) == (6, ["sim", "tcp://b:1"])
    assert [each[0] for each in decisions_of(found)] == [6]  # the hold begins with the window
    with Recording(path) as recording:
        policy = policy_file.loads(CPU)
        assert replay(recording, policy, ["tcp://b:1"]).samples == 1
        with pytest.raises(RecordingError, match="no samples to replay"):
            replay(recording, policy, window=(0, 1))


async def test_the_command_prints_decisions_and_a_summary(path: Path) -> None:
    did = Event(0, "threshold", 5.0, "cpu", "warn", 0.6)
    given = [sample(at, cpu=0.6) for at in (1, 2, 4, 5, 6, 7, 8)]  # one was lost
    replayed(path, CPU, *given, schema.event(BOOT, NOON + 5, did))
    policy = path.with_name("warden.toml")
    policy.write_text(f'interval = "2 s"\n{CPU}')
    done = await run("replay", str(path), "--policy", str(policy), TZ="UTC")
    assert done.out.splitlines() == [
        "2024-05-31 12:00:04 ± 1 s  threshold cpu: warn, 60 %",
        "",
        "WHAT                WOULD  DID",
        "threshold cpu warn  1      1",
        "time at cpu warn    4 s    0 ms",
        "7 samples of 1 board over 7 s",
        "0 of 1 decision also happened; the times of the others are known to within 1 s.",
        "What it would have done does not change the figures after it.",
        "Its interval and budget are not replayed: samples are as they were recorded.",
    ]


async def test_an_error_of_replay_is_one_sentence(path: Path) -> None:
    policy = path.with_name("warden.toml")
    for text, why in (
        ("[limits]\nmax_operations = 99\n", f"{policy}:2"),
        ("[[threshold]\n", "this is not TOML"),
        (None, f"Cannot read {policy}"),
        ("", f"There is no recording {path}."),
    ):
        policy.unlink(missing_ok=True)
        if text is not None:
            policy.write_text(text)
        done = await run("replay", str(path), "--policy", str(policy))
        assert (done.status, len(done.err.splitlines())) == (2, 1), done.err
        assert why in done.err


def test_a_policy_too_large_for_a_board_is_refused(path: Path) -> None:
    metrics = ("cpu", "tasks", "threads", "faults", "overhead", "loop_lag", "storage", "rssi_dbm")
    many = "".join(f'[[threshold]]\nmetric = "{name}"\nwarn = "-1"\n' for name in metrics)
    with pytest.raises(PolicyError):
        replayed(path, many, sample(1))


def test_weeks_of_silence_advance_the_clock_by_weeks() -> None:
    """Its clock has to be read once in half a wrap of the ticks: see device/warden/clock.py."""
    board_agent = agent.Agent((4, 300_000, 100, 5000), 1_000, agent.NOTHING)
    board_agent.advance(30 * 86_400_000 + 1_234)
    assert (board_agent.clock.s, board_agent.clock.ms) == (30 * 86_400 + 1, 234)
