"""The board's own code, on CPython: what it keeps comes back, and nothing damaged does."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from places import FAKES, REPO
from policies import POLICIES

from boardwarden import Policy, SessionQuota, _conversion
from boardwarden.policy import MEMORY_PROTECTION, in_order, steps
from warden_schema import ids

BOARD_PATH = [FAKES, REPO / "firmware_tests", REPO / "device"]
_FIXTURES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def new_agent(monkeypatch, tmp_path):
    """Return what makes an agent whose file is in a folder of its own, as it is after a start."""
    for folder in reversed(BOARD_PATH):
        monkeypatch.syspath_prepend(folder)
    rig = importlib.import_module("rig")
    setup = importlib.import_module("warden.setup")
    policy_file = importlib.import_module("warden.policy_file")

    class Board(rig.FakeBoard):
        path = str(tmp_path / "warden")

        def reset(self):
            raise AssertionError

    wear = importlib.import_module("warden.wear").wear

    def make(restore=True):
        wear.left = 100  # as after a reset, which has its budget from the file
        wear.storage = None
        agent = setup.make_agent(Board(), 1000, 10, None, (4, 300_000, 100, 5000))
        if restore:
            policy_file.load(agent)
        return agent

    return make


def ask(agent, operation, *arguments):
    requests = importlib.import_module("warden.requests")
    return requests.Requests(agent).functions[operation](*arguments)


def policy_of(agent):
    """Return the policy of an agent, as a host reads it."""
    policy = agent.policy
    thresholds = [
        _conversion.threshold_from_row(
            (t.metric, t.warn, t.critical, t.clear, t.hold_ms, t.action, 0, None), 0.0
        )
        for t in policy.thresholds.all()
    ]
    quotas = [ask(agent, ids.QUOTA, place) for place in range(len(policy.quotas))]
    return Policy(
        agent.governor.wanted_interval_ms / 1000,
        agent.governor.budget_permille / 1000,
        _conversion.limits_from_row(policy.limits()),
        in_order(thresholds),
        tuple(SessionQuota(*row[:4], row[4] and row[4] / 1000) for row in quotas),
    )


DEFAULT = Policy(
    1.0, 0.01, _conversion.limits_from_row([4, 300_000, 100, 5000]), (MEMORY_PROTECTION,), ()
)


def have(agent, wanted):
    for step in steps(policy_of(agent), wanted):
        ask(agent, step.operation, *step.arguments)


def expected(wanted):
    """Return the whole policy of a board that had DEFAULT and was asked for what is wanted."""
    limits = [
        new if new is not None else old
        for old, new in zip(
            vars(DEFAULT.limits).values(), vars(wanted.limits).values(), strict=True
        )
    ]
    return Policy(
        DEFAULT.interval_s if wanted.interval_s is None else wanted.interval_s,
        DEFAULT.budget if wanted.budget is None else wanted.budget,
        type(DEFAULT.limits)(*limits),
        DEFAULT.thresholds if wanted.thresholds is None else wanted.thresholds,
        DEFAULT.quotas if wanted.quotas is None else wanted.quotas,
    )


@_FIXTURES
@given(wanted=POLICIES)
def test_a_stored_policy_is_in_force_after_a_restart(new_agent, wanted):
    agent = new_agent(restore=False)
    assert policy_of(agent) == DEFAULT
    have(agent, wanted)
    assert policy_of(agent) == expected(wanted)
    assert steps(policy_of(agent), wanted) == ()
    assert ask(agent, ids.KEEP, 3)[0] == 1
    again = new_agent()
    assert again.policy.stored_policy.state == 1
    assert policy_of(again) == expected(wanted)
    # And from there back, whatever it was: the board's own policy, written down, is the undo.
    have(again, DEFAULT)
    assert policy_of(again) == DEFAULT


@_FIXTURES
@given(wanted=POLICIES, data=st.data())
def test_a_truncated_or_damaged_file_changes_nothing(new_agent, wanted, data):
    agent = new_agent(restore=False)
    have(agent, wanted)
    ask(agent, ids.KEEP, 3)
    file = Path(agent.board.path + ".policy")
    good = file.read_bytes()
    if data.draw(st.booleans(), "truncated"):
        bad = good[: data.draw(st.integers(0, len(good) - 1))]
    else:  # a burst of at most 16 bits, which a CRC-16 always sees
        at = data.draw(st.integers(0, len(good) - 2))
        burst = data.draw(st.integers(1, 0xFFFF)).to_bytes(2, "big")
        bad = bytearray(good)
        bad[at] ^= burst[0]
        bad[at + 1] ^= burst[1]
    assume(bad != good)
    file.write_bytes(bad)
    again = new_agent()
    assert again.policy.stored_policy.state == 2
    assert policy_of(again) == DEFAULT
    told = [again.policy.events.event(number)[5] for number in range(again.policy.events.seq)]
    assert told == ["broken"]


@_FIXTURES
@given(st.binary(max_size=80))
def test_the_board_starts_with_any_bytes_in_the_file(new_agent, content):
    frame = importlib.import_module("warden_schema.frame")
    body = b"\x01" + content  # with a CRC that is right
    crc = frame.crc16(body, 0, len(body))
    file = Path(new_agent(restore=False).board.path + ".policy")
    file.write_bytes(body + crc.to_bytes(2, "big"))
    agent = new_agent()
    assert agent.policy.stored_policy.state in (1, 2)
    if agent.policy.stored_policy.state == 2:
        assert policy_of(agent) == DEFAULT


def test_the_boards_default_memory_threshold_is_the_schemas(new_agent):
    (row,) = new_agent(restore=False).policy.thresholds.all()
    found = (row.metric, row.warn, row.critical, row.clear, row.hold_ms, row.action)
    assert found == (
        list(ids.THRESHOLD_METRICS).index(ids.DEFAULT_THRESHOLD[0]),
        *ids.DEFAULT_THRESHOLD[1:],
    )
