"""An examination of one board: what answers, how well, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from boardwarden.board import connect
from boardwarden.errors import AtPrompt, NoAgent, PoorLink, VersionMismatch
from boardwarden.models import Capability, Identity, Model

from . import advice
from .link_health import LinkHealth, measure
from .repl_look import Firmware, look

AGENT, OTHER_AGENT, PROMPT, SILENT = "agent", "agent of another version", "REPL", "nothing"

_HELLO_S = 3.0


@dataclass(frozen=True)
class Checkup(Model):
    """What was found at an address; None is what was not looked at."""

    address: str = ""
    answers: str = SILENT
    board: Identity | None = None
    capabilities: Mapping[str, Capability] = field(default_factory=dict)
    link: LinkHealth | None = None
    repl: Firmware | None = None
    problem: str | None = None

    @property
    def well(self) -> bool:
        """Whether an agent answers over a healthy link."""
        return self.answers == AGENT and self.link is not None and not self.link.problems

    @property
    def next(self) -> tuple[str, ...]:
        """What to do next, in sentences; commands stand between backquotes."""
        if self.answers == AGENT and self.link is not None:
            return advice.for_agent(self.address, self.board, self.link, self.capabilities)
        if self.answers == AGENT:
            return advice.for_poor_link(self.address)
        if self.answers == OTHER_AGENT:
            return advice.for_other_version(self.address)
        if self.repl is not None:
            return advice.for_repl(self.address, self.repl, at_prompt=self.answers == PROMPT)
        return advice.for_silence(self.address, self.problem)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, and what follows from them."""
        told = {name: capability.to_dict() for name, capability in self.capabilities.items()}
        return {
            **super().to_dict(),
            "capabilities": told,
            "well": self.well,
            "next": list(self.next),
        }


async def examine(
    address: str, seconds: float, progress: Callable[[float], None] = lambda elapsed: None
) -> Checkup:
    """Look for an agent and measure the link to it; asks no REPL and stops nothing.

    Raises a ConnectError where the address cannot be opened.
    """
    try:
        async with connect(address, timeout=_HELLO_S) as board:
            link = await measure(board, seconds, progress)
            return Checkup(address, AGENT, board.status.board, dict(board.capabilities), link)
    except PoorLink as error:
        return Checkup(address, AGENT, problem=str(error))
    except VersionMismatch as error:
        return Checkup(address, OTHER_AGENT, problem=str(error))
    except AtPrompt as error:
        return Checkup(address, PROMPT, problem=str(error))
    except NoAgent as error:
        return Checkup(address, SILENT, problem=str(error))


async def ask_repl(found: Checkup) -> Checkup:
    """Return an examination with what the REPL tells; a program that runs there is interrupted."""
    try:
        repl = await look(found.address, runs=found.answers != PROMPT)
    except NoAgent as error:
        return Checkup(found.address, found.answers, problem=str(error))
    return Checkup(found.address, found.answers, repl=repl)
