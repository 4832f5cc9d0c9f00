"""Sends a policy's changes to a board, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence

from .board import Board
from .errors import BoardError, Denied, RequestRefused
from .policy.differences import Step
from .policy.model import Policy


class NotApplied(Exception):
    """A policy was not applied; its text is the sentence that says why, and what is so now.

    denied: the board is well, and says no for now.
    """

    def __init__(self, sentence: str, denied: bool = False) -> None:
        super().__init__(sentence)
        self.denied = denied


async def send_steps(board: Board, steps: Sequence[Step], before: Policy) -> None:
    """Send all changes; if the board refuses one, undo those before it, and raise NotApplied."""
    for done, step in enumerate(steps):
        try:
            await board.send_step(step)
        except RequestRefused as error:
            for back in await board.policy_steps(before):
                await board.send_step(back)
            key = step.differences[0].key
            denied = isinstance(error, Denied)
            raise NotApplied(f"{key}: {error} Nothing was changed.", denied) from None
        except BoardError as error:
            done_so_far = f"{done} of {len(steps)} changes had been made, none of them stored"
            raise NotApplied(f"{error} {done_so_far}; apply the file again.") from None
