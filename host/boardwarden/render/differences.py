"""Writes the differences of two policies: what there was, an arrow, what there will be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from boardwarden.grants import Threshold
from boardwarden.models import enum_name
from boardwarden.policy import toml as policy_toml
from boardwarden.policy.differences import Difference
from boardwarden.policy.model import SessionQuota

from .status import Row

_ARROW = "\N{RIGHTWARDS ARROW}"
_SECONDS = ("interval", "limits.operation_timeout", "limits.overrun")
_FRACTIONS = ("budget", "limits.memory_reserve")


def difference_rows(differences: Sequence[Difference]) -> Iterator[Row]:
    """Yield a row for each difference: before and after."""
    for each in differences:
        before, after = (_value_text(each.key, value) for value in (each.before, each.after))
        yield each.key, f"{before} {_ARROW} {after}"


def _value_text(key: str, value: Any) -> str:
    if isinstance(value, Threshold):
        return threshold_text(value)
    if isinstance(value, SessionQuota):
        return _quota(value)
    if value is None:
        return "not watched" if key.startswith("threshold.") else "none"
    if key in _SECONDS:
        return policy_toml.seconds(value)
    return policy_toml.fraction(value) if key in _FRACTIONS else str(value)


def threshold_text(each: Threshold) -> str:
    """Write what is set of a threshold: "warn 75 %, critical 90 %, clear 70 %, protect"."""
    levels = {"warn": each.warn, "critical": each.critical, "clear": each.clear}
    parts = [
        f"{name} {policy_toml.level(each.metric, value)}"
        for name, value in levels.items()
        if value is not None
    ]
    if each.hold_s:
        parts.append(f"hold {policy_toml.seconds(each.hold_s)}")
    return ", ".join([*parts, enum_name(each.action)])


def _quota(each: SessionQuota) -> str:
    parts = {
        "memory": None if each.memory_bytes is None else policy_toml.size(each.memory_bytes),
        "storage": None if each.storage_bytes is None else policy_toml.size(each.storage_bytes),
        "operations": each.operations,
        "ttl": None if each.ttl_s is None else policy_toml.seconds(each.ttl_s),
    }
    return ", ".join(f"{name} {text}" for name, text in parts.items() if text is not None)
