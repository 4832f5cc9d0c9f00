"""Reads and writes a policy file, `warden.toml`; docs/host.md has its keys.

Each error is one sentence that names file, line and key, and says what was expected.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike, fspath
from typing import Any, NoReturn

from warden_schema import ids

from . import _conversion, _quantities
from ._paths import reason
from ._quantities import THRESHOLD_METRICS, metric_unit
from .errors import PolicyError
from .grants import Limits, Threshold
from .models import Action, enum_name
from .policy import MEMORY_PROTECTION, Policy, SessionQuota, in_order, quota, threshold

_MAX_BYTES = 1_000_000
_TOP = ("interval", "budget", "limits", "threshold", "session")
_LIMITS = ("max_operations", "operation_timeout", "memory_reserve", "overrun")
_LEVELS = ("warn", "critical", "clear")
_THRESHOLD = ("metric", *_LEVELS, "hold", "action", "off")
_SESSION = ("memory", "storage", "operations", "ttl")
_PARSERS: dict[str, Callable[[str, str], float]] = {
    "interval": _quantities.seconds,
    "budget": _quantities.fraction,
    "operation_timeout": _quantities.seconds,
    "memory_reserve": _quantities.fraction,
    "overrun": _quantities.seconds,
    "hold": _quantities.seconds,
    "memory": _quantities.size,
    "storage": _quantities.size,
    "ttl": _quantities.seconds,
}
_TOML_PLACE = re.compile(r"(.*) \(at line (\d+), column \d+\)", re.DOTALL)
_HEAD = re.compile(r"\s*(\[\[?)([^\[\]]*)\]")
_KEY = re.compile(r"\s*(\"[^\"]*\"|'[^']*'|[\w-]+)\s*[.=]")
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


def load(path: str | PathLike[str]) -> Policy:
    """Return the policy that a file describes; raise PolicyError."""
    name = fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise PolicyError(f"{name} is no policy file: it is larger than 1 MB.", name)
        text = data.decode("utf-8-sig")  # as some editors begin it
    except OSError as error:
        raise PolicyError(f"Cannot read {name}: {reason(error)}.", name) from None
    except UnicodeDecodeError as error:
        raise PolicyError(f"{name} is not UTF-8 text: byte {error.start} is wrong.", name) from None
    return loads(text, name)


def loads(text: str, path: str = "warden.toml") -> Policy:
    """Return the policy that the text of a file describes; raise PolicyError, naming `path`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, line = str(error), None
        if match := _TOML_PLACE.fullmatch(what):
            what, line = match[1], int(match[2])
        place = path if line is None else f"{path}:{line}"
        raise PolicyError(f"{place}: this is not TOML: {what}.", path, line) from None
    except (RecursionError, ValueError) as error:  # too deep, or a number of too many digits
        what = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise PolicyError(f"{path}: this is no policy file: {what}.", path) from None
    return _Reader(text, path).policy(found)


class _Reader:
    """Makes a policy of a file's values, and finds the line of a wrong key."""

    def __init__(self, text: str, path: str) -> None:
        self._lines = text.splitlines()
        self._path = path

    def policy(self, found: Mapping[str, Any]) -> Policy:
        """Return the policy."""
        self._known(found, _TOP, "")
        interval = self._value(found, "interval", "")
        budget = self._value(found, "budget", "")
        self._call("interval", "", _conversion.monitoring, interval, None)
        self._call("budget", "", _conversion.monitoring, None, budget)
        args = _conversion.monitoring(interval, budget)
        return Policy(
            interval_s=None if args[0] is None else args[0] / 1000,
            budget=None if args[1] is None else args[1] / 1000,
            limits=self._limits(found.get("limits", {})),
            thresholds=self._thresholds(found["threshold"]) if "threshold" in found else None,
            quotas=self._quotas(found["session"]) if "session" in found else None,
        )

    def _limits(self, found: Any) -> Limits:
        self._is_table(found, "limits", "[limits]")
        self._known(found, _LIMITS, "limits")
        values = [self._value(found, key, "limits") for key in _LIMITS]
        for place, (key, value) in enumerate(zip(_LIMITS, values, strict=True)):
            alone = [value if at == place else None for at in range(len(_LIMITS))]
            self._call(key, "limits", _conversion.limits, *alone)
        return _conversion.limits_from_row(list(_conversion.limits(*values)))

    # --- thresholds -----------------------------------------------------------------------------

    def _thresholds(self, found: Any) -> tuple[Threshold, ...]:
        """Return all thresholds: those of the file, and memory unless the file names it."""
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self._fail("threshold", "", "write [[threshold]] above each threshold's keys.")
        watched: dict[str, Threshold | None] = {MEMORY_PROTECTION.metric: MEMORY_PROTECTION}
        named: set[str] = set()
        for place, table in enumerate(found):
            metric = self._metric(table, place)
            if metric in named:
                self._fail("metric", "threshold", f"{metric} has a threshold already.", place)
            named.add(metric)
            watched[metric] = self._threshold(table, metric, place)
        watched_ones = [each for each in watched.values() if each is not None]
        if len(watched_ones) > ids.MAX_THRESHOLDS:
            memory = "" if MEMORY_PROTECTION.metric in named else ", with that on memory,"
            text = f"a board has at most {ids.MAX_THRESHOLDS} thresholds; these are"
            self._fail("threshold", "", f"{text}{memory} {len(watched_ones)}.", len(found) - 1)
        return in_order(watched_ones)

    def _metric(self, table: Mapping[str, Any], place: int) -> str:
        at = "threshold"
        self._known(table, _THRESHOLD, at, place)
        metric = table.get("metric")
        if not isinstance(metric, str) or metric not in THRESHOLD_METRICS:
            close = _closest(str(metric), THRESHOLD_METRICS)
            what = "a threshold needs a metric" if metric is None else f"no metric {metric!r}"
            self._fail("metric", at, f"{what}; {close or _one_of(THRESHOLD_METRICS)}", place)
        return metric

    def _threshold(self, table: Mapping[str, Any], metric: str, place: int) -> Threshold | None:
        """Return the threshold, None for one that is removed."""
        at = "threshold"
        off = table.get("off", False)
        if not isinstance(off, bool):
            self._fail("off", at, f"off must be true or false, not {off!r}.", place)
        if off:
            if len(table) > 2:
                self._fail("off", at, "off = true goes with metric and no other key.", place)
            return None
        warn, critical, clear = (self._level(table, metric, key, place) for key in _LEVELS)
        hold = self._value(table, "hold", at, place)
        self._call("hold", at, _conversion.milliseconds, "hold", hold, 0, 600, place=place)
        act = table.get("action", "tell")
        if act not in [enum_name(each) for each in Action]:
            self._fail("action", at, f"action must be tell, protect or reset, not {act!r}.", place)
        action = Action[act.upper()]
        try:
            return threshold(metric, warn, critical, clear, hold, action)
        except ValueError as error:
            self._fail(None, at, str(error), place)

    def _level(self, table: Mapping[str, Any], metric: str, key: str, place: int) -> float | None:
        value = table.get(key)
        if isinstance(value, str):
            value = self._call(key, "threshold", _quantities.level, metric, key, value, place=place)
        self._call(key, "threshold", _conversion.threshold_level, metric, key, value, place=place)
        return value

    # --- sessions -------------------------------------------------------------------------------

    def _quotas(self, found: Any) -> tuple[SessionQuota, ...]:
        if not isinstance(found, dict):
            self._fail("session", "", "write [session.NAME] above a session's keys.")
        quotas = []
        for name, table in found.items():
            self._is_table(table, "session", f"[session.{name}]", name)
            at = f"session.{name}"
            self._known(table, _SESSION, at)
            values = [self._value(table, key, at) for key in _SESSION]
            self._call(None, at, _conversion.quota, name, None, None, None, None)
            self._call(None, at, _conversion.require_printable, "A session's name", name)
            for place, (key, value) in enumerate(zip(_SESSION, values, strict=True)):
                alone = [value if at_ == place else None for at_ in range(len(_SESSION))]
                self._call(key, at, _conversion.quota, name, *alone)
            if all(value is None for value in values):
                self._fail(None, at, f"it needs at least one of {', '.join(_SESSION)}.")
            quotas.append(quota(name, *values))
        if len(quotas) > ids.MAX_QUOTAS:
            text = f"a board has quotas for at most {ids.MAX_QUOTAS} sessions, not {len(quotas)}."
            self._fail(None, f"session.{quotas[-1].name}", text)
        return tuple(sorted(quotas, key=lambda each: each.name))

    # --- checks ---------------------------------------------------------------------------------

    def _value(self, table: Mapping[str, Any], key: str, at: str, place: int = 0) -> Any:
        """Return a key's value, read where it is text; None where it is not there."""
        value = table.get(key)
        if isinstance(value, str) and key in _PARSERS:
            return self._call(key, at, _PARSERS[key], key, value, place=place)
        return value

    def _call(
        self, key: str | None, at: str, check: Callable[..., Any], *given: Any, place: int = 0
    ) -> Any:
        """Return the result of a check; its ValueError becomes a PolicyError at the key."""
        try:
            return check(*given)
        except ValueError as error:
            self._fail(key, at, str(error), place)

    def _is_table(self, found: Any, key: str, head: str, name: str = "") -> None:
        if not isinstance(found, dict):
            at = key if name else ""
            self._fail(name or key, at, f"write {head} as a line of its own, its keys below it.")

    def _known(
        self, table: Mapping[str, Any], allowed: Iterable[str], at: str, place: int = 0
    ) -> None:
        for key in table:
            if key not in allowed:
                close = _closest(key, allowed) or _one_of(allowed)
                self._fail(key, at, f"unknown key {key!r}; {close}", place)

    def _fail(self, key: str | None, at: str, sentence: str, place: int = 0) -> NoReturn:
        line = _line_of(self._lines, at, key, place)
        named = ".".join(part for part in (at, key) if part)
        where = f"{self._path}:{line}" if line else self._path
        # A sentence that begins with the key needs no second one.
        text = sentence if key and sentence.startswith(key) and not at else f"{named}: {sentence}"
        raise PolicyError(f"{where}: {text}", self._path, line, named)


def _closest(text: str, known: Iterable[str]) -> str:
    """Return the question whether a similar known name was meant; "" if none is similar."""
    from difflib import get_close_matches

    close = get_close_matches(text, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else ""


def _one_of(known: Iterable[str]) -> str:
    return f"there are {', '.join(known)}."


def _line_of(lines: list[str], at: str, key: str | None, place: int) -> int | None:
    """Return the line of a key of a table, or of the table's head; None where neither is found.

    at: "" for the file's top; place: which of several [[threshold]]. Keys are found as they
    are usually written, one a line.
    """
    inner = ".".join(filter(None, (at, key))) if key else None
    table, head, seen = "", None, -1
    for number, line in enumerate(lines, 1):
        if match := _HEAD.match(line):
            table = _name(match[2])
            if table == at or (inner and f"{table}.".startswith(f"{inner}.")):
                seen += table == at
                if at != "threshold" or seen == place:
                    head = number
        elif (match := _KEY.match(line)) and key is not None:
            inside = table == at and (at != "threshold" or seen == place)
            if inside and _name(match[1]) == key:
                return number
    return head


def _name(text: str) -> str:
    """Return the name of a table or key as it is without quotes and spaces."""
    return ".".join(part.strip().strip("\"'") for part in text.split("."))


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
    """Write a time exactly: 0.2 s, 5 min, 1 h."""
    for factor, unit in ((3600, "h"), (60, "min")):
        if value and value % factor == 0:
            return f"{value / factor:.10g} {unit}"
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
