"""The file of a roll-out: what each board had before, and what became of it.

A line of JSON each, written before the board is changed: whatever happens then, it can be undone.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from . import policy_file
from ._paths import reason
from .errors import AddressError, PolicyError
from .models import StoredPolicy, enum_name
from .policy import Policy, steps
from .policy_on_board import Before
from .transport.mqtt import Mqtt

_FORMAT = "boardwarden_rollout"
_VERSION = 1
_STORED = {enum_name(each): each for each in StoredPolicy}
_MAX_LINE = 100_000  # characters; a policy has a few thousand
_MAX_REASON = 1000  # of them, of a result that makes a longer line


class Changed(NamedTuple):
    """A board that a roll-out changed, or was about to."""

    address: str
    before: Before


class UndoFile:
    """A new file, which must not exist yet: a context manager; raises PolicyError.

    One in which no board came to be is removed at the end.
    """

    def __init__(self, path: Path, **about: str) -> None:
        """about: what the first line says of the roll-out, beside its time."""
        self.path = path
        self.has_boards = False
        self._size = 0  # of the whole lines in it
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError:
            raise PolicyError(f"{path} exists: name another file.", str(path)) from None
        except OSError as error:
            raise self._cannot(error) from None
        began = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            self._write({_FORMAT: _VERSION, "began": began, **about})
        except PolicyError:
            self.__exit__()
            raise

    def __enter__(self) -> UndoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self.has_boards:
            self.path.unlink(missing_ok=True)

    def add_before(self, address: str, before: Before) -> None:
        """Store what a board has, before it is changed; raise PolicyError if that fails."""
        stored = enum_name(before.stored)
        text = policy_file.dumps(before.policy)
        self._write({"before": {"address": address, "stored_policy": stored, "policy": text}})
        self.has_boards = True

    def add_result(self, result: Mapping[str, Any]) -> None:
        """Store what became of a board, or of all; less of it where a board says too much."""
        if len(json.dumps(result)) > _MAX_LINE // 2:
            result = {**result, "differences": []}
            result["reason"] = str(result.get("reason"))[:_MAX_REASON]
        self._write({"result": result})

    def _write(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        rest = data
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)  # no half line before what may follow
                self._file.seek(self._size)
            raise self._cannot(error) from None
        self._size += len(data)

    def _cannot(self, error: OSError) -> PolicyError:
        return PolicyError(f"Cannot write {self.path}: {reason(error)}.", str(self.path))


def check(before: Before) -> None:
    """Raise PolicyError where a file could not hold what a board has: it could not be undone."""
    why = "a part of it makes no sense to this host"
    text = policy_file.dumps(before.policy)
    try:
        is_same = len(json.dumps(text)) < _MAX_LINE // 2 and _is_same(
            policy_file.loads(text, "its policy"), before.policy
        )
    except (PolicyError, ValueError) as error:
        is_same, why = False, str(error).rstrip(".")
    if not is_same:
        raise PolicyError(f"What it has could not be put back, so it is left alone: {why}.")


def _is_same(one: Policy, other: Policy) -> bool:
    return not (steps(one, other) or steps(other, one))


def read(path: Path) -> list[Changed]:
    """Return the boards that a roll-out changed, the last first; raise PolicyError."""
    found: dict[str, Changed] = {}
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            while line := file.readline(_MAX_LINE):
                number += 1
                if not line.endswith("\n"):
                    if len(line) >= _MAX_LINE:
                        raise ValueError("too long")
                    head = f'{{"{_FORMAT}"'
                    if number == 1 and line[: len(head)] != head[: len(line)]:
                        raise ValueError("another beginning")
                    break  # cut off as it was written: what it was to allow was not begun
                fields = json.loads(line)
                if not isinstance(fields, dict):
                    raise ValueError("no object")
                if number == 1 and fields[_FORMAT] != _VERSION:
                    raise PolicyError(f"{path} is of another version of boardwarden.", str(path))
                if "before" in fields:
                    changed = _changed(fields["before"])
                    found.setdefault(changed.address, changed)
    except OSError as error:
        raise PolicyError(f"Cannot read {path}: {reason(error)}.", str(path)) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, AddressError):
        place = f"{path}:{number}: this is no line" if number > 1 else f"{path} is no file"
        raise PolicyError(f"{place} that `apply --boards` wrote.", str(path)) from None
    if not number:
        raise PolicyError(f"{path} is empty.", str(path))
    return [*reversed(found.values())]


def _changed(fields: Mapping[str, Any]) -> Changed:
    Mqtt(fields["address"])  # of a broker only: a stranger's file would run a program by sim:
    policy = policy_file.loads(fields["policy"], f"the policy of {fields['address']}")
    return Changed(
        fields["address"],
        Before(policy, _STORED.get(fields["stored_policy"], StoredPolicy.NOTHING)),
    )
