"""What became of the boards of a roll-out, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from boardwarden.models import Model
from boardwarden.policy.differences import Difference


class State(Enum):
    """What became of a board."""

    APPLIED = "applied"  # it follows and stores the policy
    HAD_IT = "had_it"
    WOULD_CHANGE = "would_change"  # --dry-run
    RESTORED = "restored"  # by an undo
    WORSE = "worse"  # it follows the policy, and got worse
    CHANGED = "changed"  # it got the policy, and then another one from somebody else
    UNKNOWN = "unknown"  # lost, or interrupted, in the middle of it
    REFUSED = "refused"  # nothing was changed
    OFFLINE = "offline"
    UNREACHABLE = "unreachable"  # it is said to be online, and does not answer
    NOT_REACHED = "not_reached"  # the roll-out ended before

    @property
    def words(self) -> str:
        """The words for it."""
        return str(self.value).replace("_", " ")


DONE = (State.APPLIED, State.HAD_IT, State.WOULD_CHANGE, State.RESTORED)
STOPPING = (State.WORSE, State.CHANGED, State.UNKNOWN)


@dataclass(frozen=True)
class BoardResult(Model):
    """What became of a board; `reason` is None where there is nothing to say.

    `protocol` is its agent's, None if it did not answer; the later result of a board counts.
    """

    board: str = ""
    address: str = ""
    state: State = State.NOT_REACHED
    reason: str | None = None
    differences: tuple[Difference, ...] = ()
    protocol: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        differences = [each.to_dict() for each in self.differences]
        return {**super().to_dict(), "state": self.state.value, "differences": differences}


@dataclass(frozen=True)
class Summary(Model):
    """The end of a roll-out: `ended` is "done", "stopped" (by `reason`) or "interrupted".

    `boards` counts them by their State's value; `undo` is the command that undoes it, if any.
    """

    ended: str = "done"
    reason: str | None = None
    boards: dict[str, int] = field(default_factory=dict)
    undo: str | None = None


def counted(results: Iterable[BoardResult]) -> dict[str, int]:
    """Return how many boards are in each state, in the order of State."""
    found = Counter(each.state for each in results)
    return {state.value: found[state] for state in State if found[state]}
