"""Writes a policy as a policy file; has a commented example, too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from boardwarden._quantities import THRESHOLD_METRICS, metric_unit
from boardwarden.grants import Limits, Threshold
from boardwarden.models import Action, enum_name

from .model import MEMORY_PROTECTION, Policy, SessionQuota

# docs/host.md shows the same.
EXAMPLE = """\
# warden.toml
interval = "1 s"              # between samples, 20 ms to 10 min
budget = "1 %"                # of a core, for the agent

[limits]
max_operations = 2            # 1 to 8
operation_timeout = "5 min"   # of operations that name none
memory_reserve = "10 %"       # never granted, of the heap and of each mount
overrun = "5 s"               # until a task over its lease ends; 0: never

[[threshold]]
metric = "storage"            # or memory, cpu, loop_lag, …: docs/board.md has all
warn = "80 %"
critical = "95 %"
clear = "75 %"
hold = "30 s"                 # that a level must last
action = "protect"            # or tell, or reset

[session.upload]              # for warden.session("upload") on the board
memory = "16k"
storage = "64k"
operations = 2
ttl = "10 min"
"""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(policy: Policy) -> str:
    """Return the text; read again it gives an equal policy."""
    return "\n".join(_lines(policy)) + "\n"


def level(metric: str, value: float) -> str:
    """Write a level of a metric exactly, with its unit: 75 %, 8k, 0.2 s, -70 dBm."""
    unit = metric_unit(metric)
    if unit == "permille":
        return fraction(value)
    if unit in ("ms", "s"):
        return seconds(value)
    if unit in ("bytes", "bytes_per_s"):
        return size(round(value)) + ("/s" if unit == "bytes_per_s" else "")
    return f"{value:.10g} dBm" if unit == "dbm" else f"{value:.10g}"


def fraction(value: float) -> str:
    """Write a fraction exactly: 75 %."""
    return f"{value * 100:.10g} %"


def seconds(value: float) -> str:
    """Write a time exactly: 0.2 s."""
    return f"{value:.10g} s"


def size(value: int) -> str:
    """Write a number of bytes exactly: 8k, 1M, 1000."""
    for factor, unit in ((1024**2, "M"), (1024, "k")):
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def _lines(policy: Policy) -> Iterator[str]:
    if policy.interval_s is not None:
        yield f'interval = "{seconds(policy.interval_s)}"'
    if policy.budget is not None:
        yield f'budget = "{fraction(policy.budget)}"'
    yield from _limits(policy.limits)
    if policy.thresholds is not None:
        yield from _thresholds(policy.thresholds)
    if policy.quotas is not None:
        yield from (
            "",
            "[session]  # none" if not policy.quotas else "# Quotas of sessions, by name.",
        )
        for each in policy.quotas:
            yield from _quota(each)


def _limits(limits: Limits) -> Iterator[str]:
    if limits == Limits():
        return
    yield from ("", "[limits]")
    if limits.max_operations is not None:
        yield f"max_operations = {limits.max_operations}"
    if limits.operation_timeout_s is not None:
        yield f'operation_timeout = "{seconds(limits.operation_timeout_s)}"'
    if limits.memory_reserve is not None:
        yield f'memory_reserve = "{fraction(limits.memory_reserve)}"'
    if limits.overrun_s is not None:
        yield f'overrun = "{seconds(limits.overrun_s)}"'


def _thresholds(thresholds: tuple[Threshold, ...]) -> Iterator[str]:
    default = MEMORY_PROTECTION.metric
    if all(each.metric != default for each in thresholds):
        yield from ("", "[[threshold]]", f'metric = "{default}"', "off = true")
    for each in thresholds:
        if each.metric not in THRESHOLD_METRICS or not isinstance(each.action, Action):
            yield from ("", f"# A newer agent's: {each!r}".replace("\n", " "))
            continue
        yield from ("", "[[threshold]]", f'metric = "{each.metric}"')
        levels = {"warn": each.warn, "critical": each.critical, "clear": each.clear}
        for key, value in levels.items():
            if value is not None:
                yield f'{key} = "{level(each.metric, value)}"'
        if each.hold_s:
            yield f'hold = "{seconds(each.hold_s)}"'
        yield f'action = "{enum_name(each.action)}"'


def _quota(each: SessionQuota) -> Iterator[str]:
    name = each.name
    if not _BARE.fullmatch(name):
        name = "".join(map(_escaped, json.dumps(name, ensure_ascii=False)))
    yield from ("", f"[session.{name}]")
    if each.memory_bytes is not None:
        yield f'memory = "{size(each.memory_bytes)}"'
    if each.storage_bytes is not None:
        yield f'storage = "{size(each.storage_bytes)}"'
    if each.operations is not None:
        yield f"operations = {each.operations}"
    if each.ttl_s is not None:
        yield f'ttl = "{seconds(each.ttl_s)}"'


def _escaped(char: str) -> str:
    """Return a character of a TOML string; as an escape where a terminal might act on it."""
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
