"""The boards that an MQTT broker knows, by the state that each has left there."""

from __future__ import annotations

from dataclasses import dataclass

from boardwarden.models import Model
from boardwarden.render.text import NOTHING
from boardwarden.transport.address import wrong_address
from warden_schema import ids

_KEPT = {"nothing": "none", "in_force": "stored", "broken": "broken", "set_aside": "set aside"}


@dataclass(frozen=True)
class BrokerBoard(Model):
    """A board that was at a broker; `online` is None where what it left there makes no sense.

    A broker does not say since when a state is as it is. `policy`: a state as `status` has it, or
    the hash of the file; None: the board has not said, or it is offline.
    """

    board: str = ""
    address: str = ""
    online: bool | None = None
    agent: str | None = None
    machine: str | None = None
    firmware: str | None = None
    boot_id: int | None = None
    policy: str | None = None

    @property
    def state(self) -> str:
        """The words for `online`."""
        return {True: "online", False: "offline", None: "malformed"}[self.online]

    @property
    def stored(self) -> str:
        """The words for `policy`."""
        return NOTHING if self.policy is None else _KEPT.get(self.policy, self.policy)


async def broker_boards(address: str) -> list[BrokerBoard]:
    """Return the boards that a broker knows, by name; raise a ConnectError.

    address: as a board's, without its name.
    """
    from boardwarden.transport.mqtt import BoardState, retained_states
    from boardwarden.transport.mqtt_broker import parse

    place, rest = parse(address)
    if rest:
        raise wrong_address(address, f"{address!r} names a board, and no broker")

    def made(name: str, state: BoardState) -> BrokerBoard:
        identity, policy = state.identity, state.policy
        stored = ids.KEPT[policy] if isinstance(policy, int) and policy in range(4) else policy
        return BrokerBoard(
            board=name,
            address=f"{place}/{name}",
            online=state.online,
            agent=_text(identity.get("agent")),
            machine=_text(identity.get("machine")),
            firmware=_text(identity.get("firmware")),
            boot_id=state.boot_id,
            policy=None if stored is None else str(stored),
        )

    found = await retained_states(place)
    return [made(name, state) for name, state in sorted(found.items())]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
