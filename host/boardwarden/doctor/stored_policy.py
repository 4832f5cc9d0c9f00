"""Whether a board has a stored policy in force, at the least cost to the board."""

from __future__ import annotations

from boardwarden.board import Board
from boardwarden.errors import RequestError
from boardwarden.models import StoredPolicy

# By the detail of a policy event. The application's thresholds and limits are ignored only where
# a stored policy overrides them.
_STATES = {
    "in force": StoredPolicy.IN_FORCE,
    "kept": StoredPolicy.IN_FORCE,
    "threshold ignored": StoredPolicy.IN_FORCE,
    "limits ignored": StoredPolicy.IN_FORCE,
    "forgotten": StoredPolicy.NOTHING,
    "broken": StoredPolicy.BROKEN,
    "set aside": StoredPolicy.SET_ASIDE,
}


async def find_stored_policy(board: Board) -> StoredPolicy | int | None:
    """Return the state of a board's stored policy; None where the board only measures, or fails.

    The board is asked only where its events do not say: where nothing is stored, it has to load the
    module that answers.
    """
    if board.limits.max_operations is None:
        return None
    found = _state_by_events(board)
    if found is not None:
        return found
    try:
        return await board.stored_policy()
    except RequestError:
        return None


def _state_by_events(board: Board) -> StoredPolicy | None:
    """Return what the events of this boot say; None where one that said it may be lost."""
    events = board.recent_events
    complete = not events or events[0].number == 0
    state = StoredPolicy.NOTHING if complete else None
    for event in events:
        if event.missed:
            state = None
        if event.kind == "policy":
            state = _STATES.get(event.detail or "", state)
    return state
