"""What a board's events say of the policy that it stores."""

from __future__ import annotations

from collections.abc import Iterable

from boardwarden.grants import Event
from boardwarden.models import Kept

_STATES = {
    "in force": Kept.IN_FORCE,
    "kept": Kept.IN_FORCE,
    "threshold ignored": Kept.IN_FORCE,  # the application's: only a stored policy overrides it
    "limits ignored": Kept.IN_FORCE,
    "forgotten": Kept.NOTHING,
    "broken": Kept.BROKEN,
}


def stored_policy(events: Iterable[Event]) -> Kept | None:
    """Return the state of the stored policy; None if no event of this boot tells it.

    To ask would cost the board the memory of the module that answers.
    """
    state: Kept | None = None
    for event in events:
        if event.missed:
            state = None  # what was lost may have changed it
        if event.kind == "policy":
            state = _STATES.get(event.detail or "", state)
    return state
