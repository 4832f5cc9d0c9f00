"""A board's whole policy: read, changed, and kept there over a reset."""

from __future__ import annotations

from typing import Any

from warden_schema import ids

from . import diagnosis, policy_changes
from .errors import RequestRefused
from .granting import Granting
from .kinds import Kept, member
from .policy import Policy, SessionQuota, in_order
from .policy_changes import Step
from .units import per_mille


class Keeping(Granting):
    """See Board."""

    async def policy(self) -> Policy:
        """Return what the board does by itself now; its `quotas` are None with an older agent."""
        limits = await self.set_limits()  # which changes none
        status = self.status
        return Policy(
            interval_s=status.wanted_interval_s or None,
            budget=status.overhead.budget,
            limits=limits,
            thresholds=in_order(list(self.thresholds)),
            quotas=await self._quotas(),
        )

    async def policy_steps(self, wanted: Policy) -> tuple[Step, ...]:
        """Return what has to be asked of the board to have this policy, none of it asked yet.

        Each is for `take_step()`. Raises PolicyError where only the budget is given and the board's
        monitoring is stopped.
        """
        return policy_changes.steps(await self.policy(), wanted)

    async def take_step(self, step: Step) -> None:
        """Ask for one of policy_steps()."""
        await self._ask(step.operation, *step.arguments)

    async def apply_policy(self, wanted: Policy, keep: bool = True) -> None:
        """Have the board do what a policy says, and keep it over a reset: see keep_policy().

        What is None there stays as it is.
        """
        for step in await self.policy_steps(wanted):
            await self.take_step(step)
        if keep:
            await self.keep_policy()

    async def kept_policy(self) -> Kept | int:
        """Tell whether a policy that the board keeps is in force there."""
        return await self._keep(ids.KEEPING.index("tell"))

    async def keep_policy(self) -> None:
        """Have the board keep its policy as it is now: it is in force after a reset, with no host.

        The application's own limits and thresholds then count no more. Raises Denied with the
        reason "keep:no_files", "keep:read_only", "keep:full" or another that begins with "keep:".
        """
        await self._keep(ids.KEEPING.index("write"))

    async def forget_policy(self) -> None:
        """Have the board keep none: from its next start on it does what its application says."""
        await self._keep(ids.KEEPING.index("forget"))

    async def _keep(self, what: int) -> Kept | int:
        return member(Kept, _list(await self._ask(ids.KEEP, what), 1)[0])

    async def _quotas(self) -> tuple[SessionQuota, ...] | None:
        found = []
        try:
            for place in range(ids.MAX_QUOTAS):
                value = await self._ask(ids.QUOTA, place)
                if value is None:
                    break
                name, memory, storage, operations, ttl_ms = _list(value, 5)[:5]
                found.append(SessionQuota(name, memory, storage, operations, per_mille(ttl_ms)))
        except RequestRefused as error:
            if error.code != ids.UNKNOWN_REQUEST:
                raise
            return None
        return tuple(sorted(found, key=lambda each: each.name))


def _list(value: Any, least: int) -> list[Any]:
    if not isinstance(value, list) or len(value) < least:
        raise diagnosis.not_understood()
    return value
