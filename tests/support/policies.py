"""Policies as Hypothesis makes them up: whatever a board may hold."""

from __future__ import annotations

from hypothesis import strategies as st

from boardwarden import Action, Limits, Policy, Threshold
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.policy import in_order, quota, threshold
from warden_schema import ids


def _or_none(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


_MS = st.integers(1, 2**30 - 1).map(lambda ms: ms / 1000)
_BYTES = st.integers(1, 2**30 - 1)


@st.composite
def _thresholds(draw: st.DrawFn) -> tuple[Threshold, ...]:
    found = []
    for metric in draw(st.lists(st.sampled_from(THRESHOLD_METRICS), max_size=7, unique=True)):
        unit = ids.THRESHOLD_METRICS[metric]
        figures = st.integers(-200, 0) if unit == "dbm" else st.integers(0, 1000)
        levels = sorted(draw(st.lists(figures, min_size=3, max_size=3)))
        if draw(st.booleans()):
            levels.reverse()
        clear, warn, critical = (v / 1000 if unit in ("permille", "ms") else v for v in levels)
        which = draw(st.integers(0, 2))
        hold = draw(st.integers(0, 600_000)) / 1000
        action = draw(st.sampled_from(Action))
        found.append(
            threshold(
                metric,
                None if which == 1 else warn,
                None if which == 0 else critical,
                draw(st.sampled_from([None, clear])),
                hold,
                action,
            )
        )
    return in_order(found)


_QUOTAS = st.lists(
    st.builds(
        quota,
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1, max_size=6),
        _BYTES,
        _or_none(_BYTES),
        _or_none(st.integers(1, 9)),
        _or_none(_MS),
    ),
    max_size=8,
    unique_by=lambda each: each.name,
)
POLICIES = st.builds(
    Policy,
    _or_none(st.integers(20, 600_000).map(lambda ms: ms / 1000)),
    _or_none(st.integers(1, 1000).map(lambda permille: permille / 1000)),
    st.builds(
        Limits,
        _or_none(st.integers(1, 8)),
        _or_none(_MS),
        _or_none(st.integers(0, 900).map(lambda permille: permille / 1000)),
        _or_none(st.integers(0, 600_000).map(lambda ms: ms / 1000)),
    ),
    _or_none(_thresholds()),
    _or_none(_QUOTAS.map(lambda found: tuple(sorted(found, key=lambda each: each.name)))),
)
