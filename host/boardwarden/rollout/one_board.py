"""Puts a policy on one board, whole or not at all, and has the board store it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from boardwarden.board import Board
from boardwarden.errors import BoardError, Denied, PolicyError, RequestRefused
from boardwarden.models import StoredPolicy
from boardwarden.policy import differences
from boardwarden.policy.differences import Step
from boardwarden.policy.model import Policy


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
    """What a board had before a change: its policy, and the state of the one that it stores."""

    policy: Policy
    stored: StoredPolicy | int

    def steps(self, wanted: Policy) -> tuple[Step, ...]:
        """Return the requests that turn it into another policy; raise PolicyError."""
        return differences.steps(self.policy, wanted)

    def is_as(self, wanted: Policy) -> bool:
        """Return whether there is nothing to change and nothing to store."""
        return not self.steps(wanted) and self.stored == StoredPolicy.IN_FORCE

    def is_back(self, now: Before) -> bool:
        """Return whether nothing is to be restored on a board that has `now`; see restore()."""
        restored = self.stored if self.stored == StoredPolicy.IN_FORCE else StoredPolicy.NOTHING
        return not now.steps(self.policy) and now.stored in (self.stored, restored)


async def read(board: Board) -> Before:
    """Return what a board has now; raise a BoardError, as of an agent too old to store any."""
    stored = await board.stored_policy()  # first: an older agent could not store it
    return Before(await board.policy(), stored)


async def send(board: Board, steps: Sequence[Step], before: Policy) -> Problem | None:
    """Send all changes; if the board refuses one, undo those before it."""
    for done, step in enumerate(steps):
        try:
            await board.send_step(step)
        except RequestRefused as error:
            what = f"{step.differences[0].key}: {error}"
            return await _put_back(board, before, what, isinstance(error, Denied))
        except BoardError as error:
            done_so_far = f"{done} of {len(steps)} changes had been made, none of them stored."
            return Problem(f"{error} {done_so_far}", lost=True)
    return None


async def send_and_store(
    board: Board, before: Before, wanted: Policy, insist: bool
) -> Problem | None:
    """Have a board follow a policy and store it; where it refuses, all is put back."""
    problem = await send(board, before.steps(wanted), before.policy)
    if problem is not None:
        return problem
    try:
        await board.save_policy(insist)
    except RequestRefused as error:
        return await _put_back(board, before.policy, str(error), isinstance(error, Denied))
    except BoardError as error:
        return Problem(f"{error} The policy is in force, but perhaps not stored.")
    return None


async def restore(board: Board, now: Before, before: Before) -> Problem | None:
    """Have a board follow again, and store or not, what it had before.

    One that it had set aside, or that was broken, cannot be had: then it stores none.
    """
    problem = await send(board, now.steps(before.policy), now.policy)
    if problem is not None:
        return problem
    try:
        if before.stored == StoredPolicy.IN_FORCE:
            await board.save_policy(insist=True)  # it did so before
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
