"""Who is told what a board says: the session by the subscription, the mirror by the session."""

from __future__ import annotations

from typing import Protocol

from .messages import Message


class Keeper(Protocol):
    """Who keeps the board's state: the mirror."""

    def told(self, message: Message) -> None:
        """A HELLO, SAMPLE, ROWS or row of a table came, and it is news."""
        ...

    def happened(self, message: Message, missed: int) -> None:
        """The next EVENT came; so many before it were lost for good."""
        ...

    def synced(self) -> None:
        """All that the board has to tell has been told."""
        ...

    def restarted(self) -> None:
        """The board restarted: what it told before no longer holds."""
        ...

    def link_changed(self, connected: bool) -> None:
        """The board was lost, or is there (again)."""
        ...


class Listener(Keeper, Protocol):
    """Who is told all that the board says."""

    def refused(self, major: int, minor: int) -> None:
        """The board speaks this version of the protocol, which is not ours."""
        ...

    def renewed(self) -> None:
        """A new session began: what was asked in the last one is not answered any more."""
        ...

    def replied(self, request_id: int, code: int, value: object) -> None:
        """The answer to a request came, maybe again."""
        ...

    def echoed(self) -> None:
        """What came back is what a host sent."""
        ...
