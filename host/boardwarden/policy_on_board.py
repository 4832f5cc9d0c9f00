"""The policy of one board: what it stores, and putting another on it, whole or not at all.

Finds out, too, whether the board got worse by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from warden_schema import ids

from .board import Board
from .errors import (
    BoardError,
    BoardRestarted,
    Denied,
    PolicyError,
    RequestError,
    RequestRefused,
)
from .grants import Event, begins_hang
from .models import LEVELS, Level, StoredPolicy, enum_name
from .policy import Policy, Step, in_order, steps
from .render.status import link_state
from .render.tables import event_text
from .render.text import count, duration, printable

LOST_S = 10.0  # of silence; before, it may be a moment of its network
# Events of which an application may have some at all times: more than before is worse.
_COUNTED = {"denied": "refusal", "exception": "exception", "hang": "hang"}


class Problem(NamedTuple):
    """Why a board does not follow and store a policy.

    denied: it says no for now. unchanged: what it had before is in force. lost: it does not answer,
    and has a part of the changes.
    """

    sentence: str
    denied: bool = False
    unchanged: bool = False
    lost: bool = False


class Before(NamedTuple):
    """What a board had before a change: its policy, and the state of the one that it stores.

    boot_id: of the boot that had it; None: any. A change is for that boot: the next one has lost
    what was not stored.
    """

    policy: Policy
    stored: StoredPolicy | int
    boot_id: int | None = None

    def check_boot(self, board: Board) -> None:
        """Raise BoardRestarted if the board has restarted since."""
        if self.boot_id not in (None, board.status.board.boot_id):
            raise BoardRestarted("The board restarted meanwhile, and lost what was not stored.")

    def steps(self, wanted: Policy) -> tuple[Step, ...]:
        """Return the requests that turn it into another policy; raise PolicyError."""
        return steps(self.policy, wanted)

    def is_as(self, wanted: Policy) -> bool:
        """Return whether there is nothing to change and nothing to store."""
        return not self.steps(wanted) and self.stored == StoredPolicy.IN_FORCE

    def is_back(self, now: Before) -> bool:
        """Return whether nothing is to be restored on a board that has `now`; see restore()."""
        restored = self.stored if self.stored == StoredPolicy.IN_FORCE else StoredPolicy.NOTHING
        return not now.steps(self.policy) and now.stored in (self.stored, restored)


async def read(board: Board, stores: bool = True) -> Before:
    """Return what a board has now; raise a BoardError, as of an agent too old to store any.

    stores: whether the board is to store a policy; else it need not be able to.
    """
    boot_id = board.status.board.boot_id
    stored = await board.stored_policy() if stores else StoredPolicy.NOTHING
    before = Before(await board.policy(), stored, boot_id)
    before.check_boot(board)
    return before


async def send(board: Board, steps: Sequence[Step], before: Before) -> Problem | None:
    """Send all changes; if the board refuses one, undo those before it."""
    for done, step in enumerate(steps):
        try:
            before.check_boot(board)
            await board.send_step(step)
            before.check_boot(board)  # which may be known only now
        except RequestRefused as error:
            what = f"{step.differences[0].key}: {error}"
            return await _put_back(board, before.policy, what, isinstance(error, Denied))
        except BoardError as error:
            done_so_far = f"{done} of {len(steps)} changes had been made, none of them stored."
            return Problem(f"{error} {done_so_far}", lost=True)
    return None


async def send_and_store(
    board: Board, before: Before, wanted: Policy, insist: bool
) -> Problem | None:
    """Have a board follow a policy and store it; where it refuses, all is put back."""
    problem = await send(board, before.steps(wanted), before)
    if problem is not None:
        return problem
    try:
        await store(board, before, insist)
    except RequestRefused as error:
        return await _put_back(board, before.policy, str(error), isinstance(error, Denied))
    except BoardError as error:
        return Problem(perhaps_stored(error))
    return None


async def store(board: Board, before: Before, insist: bool = False) -> None:
    """Have a board store the policy that was sent to it; raise a BoardError, see save_policy()."""
    before.check_boot(board)
    await board.save_policy(insist)
    before.check_boot(board)


def perhaps_stored(error: BoardError) -> str:
    """Return what is known where store() failed without a refusal."""
    if isinstance(error, BoardRestarted):
        return f"{error} The policy is in force only if it was stored before that."
    return f"{error} The policy is in force, but perhaps not stored."


async def restore(board: Board, now: Before, before: Before) -> Problem | None:
    """Have a board follow again, and store or not, what it had before.

    One that it had set aside, or that was broken, cannot be had: then it stores none.
    """
    problem = await send(board, now.steps(before.policy), now)
    if problem is not None:
        return problem
    try:
        if before.stored == StoredPolicy.IN_FORCE:
            await store(board, now, insist=True)  # it did so before
        elif now.stored != StoredPolicy.NOTHING:
            await board.forget_policy()
    except BoardError as error:
        return Problem(
            f"{error} Its former policy is in force until it restarts.", isinstance(error, Denied)
        )
    return None


async def put_back(board: Board, before: Policy) -> None:
    """Have a board follow its former policy again; what it stores stays as it is."""
    for step in await board.policy_steps(before):
        await board.send_step(step)


async def _put_back(board: Board, before: Policy, what: str, denied: bool) -> Problem:
    try:
        await put_back(board, before)
    except (BoardError, PolicyError) as error:
        return Problem(f"{what} Its former policy could not be put back: {error}")
    return Problem(f"{what} Nothing was changed.", denied, unchanged=True)


# --- whether it got worse -------------------------------------------------------------------------


class Health:
    """How a board was before a change, to be made then; worse() compares.

    watch_s: how long it will be watched, and so how far back what it remembers is compared.
    """

    def __init__(self, board: Board, watch_s: float) -> None:
        self._board = board
        self._watch_s = watch_s
        self._levels = {each.metric: each.level for each in board.thresholds}
        self._restarts = board.restart_count
        events = board.recent_events
        self._last = events[-1].number if events else -1
        now = board.status.cpu.uptime_s or 0.0
        self._usual = {kind: _usual(events, kind, now, watch_s) for kind in _COUNTED}
        self._silent_since: float | None = None

    def worse(self, now: float, at_end: bool = False) -> str | None:
        """Return what got worse, in words; None while nothing did.

        now: seconds of any clock. at_end: of the time of watching: who is silent then is lost.
        """
        board = self._board
        if board.restart_count > self._restarts:
            return printable(str(board.restarts[-1]))
        return self._lost(now, at_end) or self._set_aside() or self._crossed() or self._more_often()

    def changed(self, wanted: Policy) -> str | None:
        """Return which limits or thresholds are others than were applied; None: none are.

        They are in the mirror: quotas would have to be asked for.
        """
        board = self._board
        if not (board.connected and board.synced):
            return None
        now = Policy(limits=board.limits, thresholds=in_order(list(board.thresholds)))
        try:
            found = steps(now, Policy(limits=wanted.limits, thresholds=wanted.thresholds))
        except PolicyError as error:
            return str(error)
        keys = [each.key for step in found for each in step.differences]
        if not keys:
            return None
        return f"{', '.join(keys)}: changed since, and not by this roll-out"

    def _lost(self, now: float, at_end: bool) -> str | None:
        if self._board.connected or self._board.asleep:
            self._silent_since = None
            return None
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since < LOST_S and not at_end:
            return None
        return link_state(self._board)

    @property
    def _events(self) -> list[Event]:
        return [each for each in self._board.recent_events if each.number > self._last]

    def _set_aside(self) -> str | None:
        given_up = [each for each in self._events if each.kind == "policy"]
        given_up = [each for each in given_up if each.detail in ("set aside", "forgotten")]
        return event_text(given_up[-1]) if given_up else None

    def _crossed(self) -> str | None:
        for event in self._events:
            if event.kind == "threshold":
                level = LEVELS.get(event.detail or "", Level.CLEAR)
                if level > self._levels.get(str(event.subject), Level.CLEAR):
                    return event_text(event)
        for each in self._board.thresholds:
            if each.level > self._levels.get(each.metric, Level.CLEAR):
                return printable(f"{each.metric} is at its level {enum_name(each.level)}")
        return None

    def _more_often(self) -> str | None:
        for kind, noun in _COUNTED.items():
            found = [each for each in self._events if _is_counted(each, kind)]
            # In as long a time: to change a large group and watch it takes longer.
            found = [each for each in found if each.uptime_s > found[-1].uptime_s - self._watch_s]
            usual = self._usual[kind]
            if len(found) > usual:
                before = f", {usual} in {duration(self._watch_s)} before" if usual else ""
                return f"{count(len(found), noun)}{before}; the last: {event_text(found[-1])}"
        return None


def _is_counted(event: Event, kind: str) -> bool:
    return begins_hang(event) if kind == "hang" else event.kind == kind


def _usual(events: Sequence[Event], kind: str, now: float, watch_s: float) -> int:
    """Return how many events of a kind to expect: as many as came in as long a time before.

    Where the board does not remember so far back, at the rate of what it remembers.
    """
    recent = [each for each in events if each.uptime_s >= now - watch_s]
    found = sum(_is_counted(each, kind) for each in recent)
    if len(recent) < len(events) or len(events) < ids.MAX_EVENTS:
        return found
    remembered_s = max(now - events[0].uptime_s, 0.001)
    return math.ceil(found * max(1.0, watch_s / remembered_s))


# --- what it stores -------------------------------------------------------------------------------


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
