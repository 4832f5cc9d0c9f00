"""A board's whole policy, for programs without asyncio."""

from __future__ import annotations

from .kinds import Kept
from .policy import Policy
from .policy_changes import Step
from .sync_granting import SyncGranting
from .sync_loop import call


class SyncKeeping(SyncGranting):
    """See SyncBoard; `Board` says what each does and raises."""

    def policy(self) -> Policy:
        """Return what the board does by itself now."""
        return call(self._loop, self._board.policy())

    def policy_steps(self, wanted: Policy) -> tuple[Step, ...]:
        """Return what has to be asked of the board to have this policy, none of it asked yet."""
        return call(self._loop, self._board.policy_steps(wanted))

    def take_step(self, step: Step) -> None:
        """Ask for one of policy_steps()."""
        call(self._loop, self._board.take_step(step))

    def apply_policy(self, wanted: Policy, keep: bool = True) -> None:
        """Have the board do what a policy says, and keep it over a reset."""
        call(self._loop, self._board.apply_policy(wanted, keep))

    def kept_policy(self) -> Kept | int:
        """Tell whether a policy that the board keeps is in force there."""
        return call(self._loop, self._board.kept_policy())

    def keep_policy(self) -> None:
        """Have the board keep its policy as it is now over a reset."""
        call(self._loop, self._board.keep_policy())

    def forget_policy(self) -> None:
        """Have the board keep none: from its next start on it does what its application says."""
        call(self._loop, self._board.forget_policy())
