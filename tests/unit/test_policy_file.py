"""A policy file: read, written, and what it says of each mistake."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import REPO
from policies import POLICIES

from boardwarden import (
    Action,
    Limits,
    Policy,
    PolicyError,
    SessionQuota,
    Threshold,
    _quantities,
    policy_file,
)
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.policy import MEMORY_PROTECTION
from boardwarden.policy_file import EXAMPLE, dumps

TEXT = """\
interval = "1 s"
budget = "1 %"

[limits]
max_operations = 4
operation_timeout = "5 min"
memory_reserve = "10 %"
overrun = 5

[[threshold]]
metric = "cpu"
warn = "75 %"
critical = 0.9
hold = "30 s"

[[threshold]]
metric = "largest_free_block_bytes"
warn = "8k"
action = "protect"

[session.upload]
memory = "16k"
operations = 2
"""


def test_values_are_read_in_the_hosts_units() -> None:
    policy = policy_file.loads(TEXT)
    assert (policy.interval_s, policy.budget) == (1.0, 0.01)
    assert policy.limits == Limits(4, 300.0, 0.1, 5.0)
    assert policy.thresholds == (
        MEMORY_PROTECTION,
        Threshold("cpu", 0.75, 0.9, 0.75, 30.0),
        Threshold("largest_free_block_bytes", 8192, None, 8192, 0.0, Action.PROTECT),
    )
    assert policy.quotas == (SessionQuota("upload", 16_384, None, 2),)


def test_settings_left_out_are_unchanged_and_memory_stays_protected() -> None:
    assert policy_file.loads("") == Policy()
    assert policy_file.loads("[limits]\noverrun = 0").limits == Limits(overrun_s=0.0)
    assert policy_file.loads("threshold = []").thresholds == (MEMORY_PROTECTION,)
    assert policy_file.loads("[[threshold]]\nmetric='memory'\noff=true").thresholds == ()
    assert policy_file.loads("[session]").quotas == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_op", "maxop", "5: limits.maxoperations: unknown key 'maxoperations'; did you mean"),
        ("interval", "intervall", "1: intervall: unknown key 'intervall'; did you mean 'interval'"),
        ("[limits]", "[limit]", "4: limit: unknown key 'limit'; did you mean 'limits'?"),
        ("[limits]", "[[limits]]", "4: limits: write [limits] as a line of its own"),
        ("[session.", "[sessions.", "21: sessions: unknown key 'sessions'; did you mean 'session'"),
        ("upload]", "upload.x]", "21: session.upload.x: unknown key 'x'; there are memory,"),
        ("upload]", f"{'u' * 25}]", "must have 1 to 24 bytes"),
        ("critical", "critcal", "13: threshold.critcal: unknown key 'critcal'; did you mean"),
        ('"cpu"', '"cpus"', "11: threshold.metric: no metric 'cpus'; did you mean 'cpu'?"),
        ('metric = "cpu"', "", "10: threshold.metric: a threshold needs a metric; there are"),
        ("largest_free_block_bytes", "cpu", "17: threshold.metric: cpu has a threshold already"),
        ("= 4", "= ", "5: this is not TOML: "),
        ("= 4", "= 9", "5: limits.max_operations: max_operations must be a whole number from 1 to"),
        ('"1 s"', '"1 ms"', "1: interval must be a number of seconds from 0.02 to 600, not 0.001"),
        ('"1 %"', "true", "2: budget must be a fraction of a core from 0.001 to 1, not True."),
        ('"10 %"', '"95 %"', "7: limits.memory_reserve: memory_reserve must be a fraction from 0"),
        ("5 min", "5 mints", "6: limits.operation_timeout: operation_timeout must be a duration, "),
        ('"75 %"', "75", "12: threshold.warn: warn of cpu must be a fraction from 0 to 1, not 75"),
        ("8k", "8 apples", "18: threshold.warn: warn must be a number of bytes, such as"),
        pytest.param("8k", "9" * 400, "18: threshold.warn: warn must be a number", id="inf"),
        ("30 s", "11 min", "14: threshold.hold: hold must be a number of seconds from 0 to 600"),
        ("0.9", "0.2\nclear = 0.3", "10: threshold: The levels of cpu must go one way"),
        ('"protect"', '"shout"', "19: threshold.action: action must be tell, protect or reset, n"),
        ('warn = "8k"', "hold = 3", "16: threshold: A threshold on largest_free_block_bytes needs"),
        ('warn = "8k"', "off = 1", "18: threshold.off: off must be true or false, not 1."),
        ('warn = "8k"', "off = true", "18: threshold.off: off = true goes with metric and no othe"),
        ("operations = 2", "operations = 0", "23: session.upload.operations: operations must be"),
        ('memory = "16k"\noperations = 2', "", "21: session.upload: it needs at least one of memo"),
        ("interval", "threshold = 3\ninterval", "this is not TOML"),
    ],
)
def test_each_mistake_names_file_line_key_and_what_is_expected(
    old: str, new: str, message: str
) -> None:
    assert old in TEXT
    with pytest.raises(PolicyError) as caught:
        policy_file.loads(TEXT.replace(old, new, 1), "x/warden.toml")
    assert str(caught.value).startswith("x/warden.toml:")
    assert message in str(caught.value)
    assert caught.value.path == "x/warden.toml"
    assert f":{caught.value.line}: " in str(caught.value)


def test_a_session_name_that_the_board_would_refuse_is_a_mistake_of_the_file() -> None:
    with pytest.raises(PolicyError, match="name must be without control characters"):
        policy_file.loads('[session."up\\u001bload"]\nmemory = 1')


def test_more_rows_than_the_board_has_are_refused() -> None:
    nine = "".join(
        f'[[threshold]]\nmetric = "{name}"\nwarn = 1\n' for name in THRESHOLD_METRICS[4:13]
    )
    with pytest.raises(PolicyError, match="at most 8 thresholds; these are, with that on memory, "):
        policy_file.loads(nine.replace('rssi_dbm"\nwarn = 1', 'rssi_dbm"\nwarn = -70'))
    nine = "".join(f"[session.s{number}]\nmemory = 1\n" for number in range(9))
    with pytest.raises(PolicyError, match="at most 8 sessions"):
        policy_file.loads(nine)


def test_an_unreadable_file_raises_policy_error(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none.toml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(PolicyError, match=message):
            policy_file.load(path)
    (tmp_path / "latin").write_bytes(b"# \xe9")
    with pytest.raises(PolicyError, match="not UTF-8 text: byte 2"):
        policy_file.load(tmp_path / "latin")
    (tmp_path / "bom.toml").write_bytes(b'\xef\xbb\xbfinterval = "1 s"')
    assert policy_file.load(tmp_path / "bom.toml").interval_s == 1.0


# --- written and read again -----------------------------------------------------------------------


@given(POLICIES)
def test_a_written_policy_is_read_back_unchanged(policy: Policy) -> None:
    assert policy_file.loads(dumps(policy)) == policy


@given(st.text())
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    with contextlib.suppress(PolicyError):
        assert isinstance(policy_file.loads(text), Policy)


def test_the_example_in_the_documents_is_a_valid_policy() -> None:
    text = (REPO / "docs" / "host.md").read_text(encoding="utf-8")
    example = text.partition("```toml\n")[2].partition("```")[0]
    assert example == EXAMPLE  # what `boardwarden policy --example` prints
    policy = policy_file.loads(example)
    assert [each.metric for each in policy.thresholds or ()] == ["memory", "storage"]
    assert policy.quotas == (SessionQuota("upload", 16_384, 65_536, 2, 600.0),)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 s"), (0.2, "0.2 s"), (30, "30 s"), (90, "90 s"), (300.0, "5 min"), (7200, "2 h")],
)
def test_a_time_is_written_exactly_in_the_unit_that_has_no_fraction(
    value: float, text: str
) -> None:
    assert policy_file.seconds(value) == text
    assert _quantities.seconds("it", text) == value
