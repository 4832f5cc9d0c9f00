"""What a board's user reads: the mirror, without I/O."""

from __future__ import annotations

from collections.abc import Mapping

from .grants import (
    BoardSession,
    Event,
    Lease,
    Limits,
    MemoryNeed,
    Meter,
    Operation,
    Threshold,
)
from .history import History
from .mirror import Mirror
from .models import Capability, LinkStatus, Status, Trends
from .session import Session


class BoardView:
    """One board as it told last. What it is full of comes oldest first."""

    _mirror: Mirror
    _session: Session

    @property
    def status(self) -> Status:
        """The board's state; `.age_s` says how old its figures are."""
        return self._mirror.status

    @property
    def capabilities(self) -> Mapping[str, Capability]:
        """What the board can tell, by name, and why not where it cannot."""
        return self._mirror.capabilities

    @property
    def history(self) -> History:
        """The samples that came, and what fetch_history() read."""
        return self._mirror.history

    @property
    def allocations(self) -> tuple[Lease, ...]:
        """The leases that have not ended, the application's and those of hosts."""
        return self._mirror.leases.models

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations that have, or wait for, a place, and those that do not stop."""
        return self._mirror.operations.models

    @property
    def sessions(self) -> tuple[BoardSession, ...]:
        """The open sessions; a host has one, "host …", once it asked for something."""
        return self._mirror.sessions.models

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """What the board watches, and where each figure is."""
        return self._mirror.thresholds.models

    @property
    def limits(self) -> Limits:
        """What set_limits() sets; all None of a board that only measures."""
        return self._mirror.limits

    @property
    def needs(self) -> tuple[MemoryNeed, ...]:
        """How much memory operations took, by their names."""
        return self._mirror.needs.models

    @property
    def meters(self) -> tuple[Meter, ...]:
        """What each metered task and counted thread takes; empty but inside metering()."""
        return self._mirror.meters.models

    @property
    def recent_events(self) -> tuple[Event, ...]:
        """The last events of this boot: those that the board remembered at connect, and since."""
        return self._mirror.events.recent

    @property
    def connected(self) -> bool:
        """Whether the board is there: it answered, and was heard in the last 2.5 seconds."""
        return self._mirror.connected

    @property
    def link(self) -> LinkStatus:
        """What happened between board and host."""
        subscription, deframer = self._session.subscription, self._session.deframer
        return LinkStatus(
            frames=subscription.frames,
            bad_frames=deframer.bad + subscription.malformed,
            skipped_frames=subscription.skipped,
            gaps=subscription.gaps,
            dropped_frames=self._mirror.dropped_frames,
            text_bytes=deframer.text_bytes,
            reconnects=self._session.link.reconnects,
        )

    def trends(self, period: float = 60.0) -> Trends:
        """Return where the figures went in the last `period` seconds; no I/O.

        Beyond the samples that came this uses what fetch_history() read.
        """
        return self._mirror.trends(period)
