"""The protocol of a subscription, without I/O or tasks: the caller passes the time.

Rules: docs/wire.md, "A session". Times are seconds of any one clock that never goes back.
"""

from __future__ import annotations

import random
from typing import Any, Protocol

from warden_schema import ids

from . import messages
from .messages import Deltas, EventOrder, Message, Snapshot

SUBSCRIBE_S = 0.5  # at least, between two SUBSCRIBEs
KEEPALIVE_S = ids.KEEPALIVE_MS / 1000
SILENCE_S = 2.5  # without a frame, the board counts as gone
RENEW_S = 10.0  # without a frame, the session is another one
_DROPPED_S = ids.SILENCE_MS / 1000 - KEEPALIVE_S  # a keepalive later, the board is silent
_ACK_BYTES = 80  # about: beside so many, the longest SAMPLE still fits the window
_FRAME_BYTES = 4  # delimiters and CRC
_MAX_MALFORMED = 256  # kinds and rows that are known to be
_HEARTBEAT = (ids.SAMPLE, ids.DELTA, ids.ALIVE)  # comes again
# Of the stream only: it was processed before, or is another host's.
_NOTHING_NEW = (ids.ALIVE, ids.CHALLENGE, ids.PROVED, ids.KEY_REFUSED)
_UNHURRIED = (*_HEARTBEAT, ids.REPLY)  # acknowledged with the next keepalive only


class _BoardListener(Protocol):
    """Receives what concerns the whole board: the session, which informs the mirror."""

    def on_synced(self) -> None:
        """The board has sent its full state."""

    def on_restart(self) -> None:
        """The board restarted: what it sent before no longer holds."""

    def on_link_change(self, connected: bool) -> None:
        """The board was lost, or answers (again)."""


class StateListener(_BoardListener, Protocol):
    """Holds the board's state: the mirror."""

    def on_message(self, message: Message) -> None:
        """A new HELLO, SAMPLE, ROWS or row of a table came."""

    def on_event(self, message: Message, missed: int) -> None:
        """The next EVENT came; so many before it were lost for good."""


class Listener(_BoardListener, Protocol):
    """Acts on what the subscription finds out: the session."""

    def on_refused(self, major: int, minor: int, places: list[object] | None) -> None:
        """The board speaks this version of the protocol, or others have all of its places."""

    def on_confirmed(self) -> None:
        """A HELLO answered the last SUBSCRIBE: requests may be sent."""

    def on_new_session(self) -> None:
        """A new session began: requests of the last one get no reply any more."""

    def on_reply(self, request_id: int, code: int, value: object) -> None:
        """The reply to a request came, maybe again."""


def new_host_id() -> int:
    """Return a number for a new session."""
    return random.randint(2, 2**29 - 1)


class Subscription:
    """One host's subscription: processes the board's payloads, and returns what to send when."""

    __slots__ = (  # of an object with so many attributes a dict takes 1.5 KB, in each board
        *("frames", "malformed", "skipped", "gaps", "confirmed", "synced", "host_id", "echoed"),
        *("holds", "needs_answer", "_state", "_listener", "_last_seq", "_is_left", "_expects_gap"),
        *("_snapshot", "_deltas", "_malformed_before", "_boot_id", "_uptime", "_connected"),
        "_heard_seq",
        *("_events", "_events_from", "_ack_due", "_unacknowledged"),
        *("_frame_at", "_subscribe_at", "_keepalive_at", "_content_at"),
    )

    def __init__(self, state: StateListener, listener: Listener) -> None:
        self.frames = self.malformed = self.skipped = self.gaps = 0
        self.confirmed = False  # a HELLO answered the last SUBSCRIBE: it is the board we think
        self.synced = False  # the board's full state came, and nothing was lost since
        self.echoed = False  # what came back is what a host sent
        self.holds = False  # something on the board, which ends with this session
        self.needs_answer = False  # a request waits for `confirmed`, which each SUBSCRIBE brings
        self.host_id = new_host_id()
        self._state = state
        self._listener = listener
        self._last_seq: int | None = None  # of the board's frames, modulo 65 536
        self._heard_seq: int | None = None  # of the last frame on this link, understood or not
        self._is_left = False  # what comes is passed over, and not counted as lost
        self._snapshot = Snapshot()
        self._deltas = Deltas()
        self._malformed_before: set[tuple[int, Any]] = set()  # kinds and first fields
        self._expects_gap = False  # what came was passed over, though the line brought it whole
        self._boot_id: int | None = None
        self._uptime = (0, 0)  # seconds, milliseconds
        self._connected = False
        self._events = EventOrder()
        self._events_from: int | None = None  # the first event that the last SUBSCRIBE wanted
        self._ack_due = False
        self._unacknowledged = 0  # bytes, about
        self._frame_at = self._subscribe_at = self._keepalive_at = 0.0
        self._content_at = 0.0  # something that is no heartbeat came

    @property
    def answered(self) -> bool:
        """Whether a HELLO has ever come."""
        return self._last_seq is not None

    def on_open(self, now: float) -> None:
        """Begin on a fresh link."""
        if not self.answered:
            self._frame_at = now
        self._heard_seq = None
        self._subscribe_at = now
        self._resubscribe()

    def on_lost(self) -> None:
        """The link is gone; which board answers on the next one is unknown."""
        self.confirmed = False
        self._set_connected(False)

    def on_presence(self, online: bool, now: float) -> None:
        """Process what is known apart from the stream of whether the board is there."""

    def on_standstill(self, stood_s: float, now: float) -> None:
        """Go on after this host stood still: it is no silence of the board's.

        The board may have taken this host for gone, and its session with that.
        """
        self._frame_at = min(now, self._frame_at + stood_s)
        if stood_s >= RENEW_S - KEEPALIVE_S:
            self._begin_session(now)
        if stood_s >= _DROPPED_S:
            self._resubscribe()

    def leave(self) -> None:
        """Pass over what comes until on_open(): it is not counted as lost."""
        self._is_left = True

    # --- what the board sends -------------------------------------------------------------------

    def receive(self, payload: bytes, now: float) -> None:
        """Process one payload; count, and otherwise ignore, what is malformed."""
        message = messages.decode(payload)
        if message is None:
            self.malformed += 1
            self._on_malformed(payload)
            return
        kind: int = message[0]
        if kind >= ids.FIRST_HOST_KIND:
            self.echoed = True
            return
        self.frames += 1
        self._heard_seq = message[1]
        self._unacknowledged += len(payload) + _FRAME_BYTES
        if kind not in _UNHURRIED or self._unacknowledged >= _ACK_BYTES:
            self._ack_due = True
        if self._dispatch(kind, message):
            self._frame_at = now
            if kind not in _HEARTBEAT:
                self._content_at = now

    def on_oversize(self) -> None:
        """Pass over an undamaged frame that is too long: the next one's number leaves a gap."""
        self._expects_gap = True

    def _on_malformed(self, payload: bytes) -> None:
        """Go on without a message that is malformed again: the board itself makes it so.

        The first time it may be damage, and is asked for again as what was lost is.
        """
        found = messages.head(payload)
        if found is not None and found[::2] in self._malformed_before:
            kind, seq, _ = found
            if kind == ids.STORAGE:
                self._snapshot.counts_rows = False
            self._is_new(seq)
            return
        self._expects_gap = True
        if found is not None and len(self._malformed_before) < _MAX_MALFORMED:
            self._malformed_before.add(found[::2])

    def _dispatch(self, kind: int, message: Message) -> bool:
        """Return whether the message comes from the board that we know.

        Repeats are none: a board that restarted, and whose HELLO was lost, seems to repeat itself.
        """
        if kind in (ids.HELLO, ids.REFUSED):
            if message[4] != self.host_id:
                return False
            if kind == ids.HELLO:
                self._hello(message)
            else:
                self._listener.on_refused(message[2], message[3], message[5])
            return True
        if self._is_new(message[1]):
            self._process(kind, message)
            return True
        return False

    def _hello(self, message: Message) -> None:
        seq, major, minor, _, boot_id = message[1:6]
        if major != ids.PROTOCOL_MAJOR:
            self._listener.on_refused(major, minor, None)
            return
        # One without a SUBSCRIBE, as a capability changed, does not bring again what was lost.
        had_answer = self.synced or self.confirmed
        broken = had_answer and self._steps_ahead(seq) != 1
        if broken and boot_id == self._boot_id:  # else it numbers its frames anew
            self._count_gap()
        self._last_seq, self._is_left = seq, False
        self._snapshot.begin()
        if not had_answer:  # all events come; what came before may be a late one of another boot
            self._events.miss()
        self.confirmed = True
        self._listener.on_confirmed()
        if boot_id != self._boot_id:
            self._on_restart()
            broken = broken or bool(self._events_from)  # in the numbers of another boot
        self._boot_id = boot_id
        self._state.on_message(message)
        self._set_connected(True)
        if broken:
            self._resubscribe()

    def _is_new(self, seq: int) -> bool:
        ahead = self._steps_ahead(seq)
        if ahead > 1:
            self._count_gap()
            self._ack_due = True  # what was lost may fill the board's window
            self._resubscribe()
        return ahead > 0

    def _steps_ahead(self, seq: int) -> int:
        """Return how many frames after the last one this is, and make it the last.

        1: nothing was lost; 0: it is a repeat, or late, and the last one stays.
        """
        if self._last_seq is None:
            return 0  # nothing counts before a HELLO
        ahead = 1 if self._is_left else (seq - self._last_seq) & 0xFFFF
        if ahead >= 0x8000:
            return 0
        self._last_seq, self._is_left = seq, False
        return ahead

    def _count_gap(self) -> None:
        """Count a gap, unless what is missing came and made no sense: that is counted already."""
        self.gaps += not self._expects_gap
        self._expects_gap = False

    def _process(self, kind: int, message: Message) -> None:
        if kind == ids.DELTA:
            self._delta(message)
        elif kind == ids.SAMPLE:
            self._deltas.remember(message)
            self._sample(message)
        elif kind == ids.STORAGE:
            self._snapshot.add_row(message[2], message[3])
            self._state.on_message(message)
        elif kind == ids.REPLY:
            self._listener.on_reply(message[2], message[3], message[4])
        elif kind == ids.EVENT:
            self._on_events(self._events.admit(message[2], message, self.synced))
        elif kind in (ids.ROWS, ids.SYSTEM_HEAP, ids.ASLEEP) or kind in messages.ROWS_OF:
            self._state.on_message(message)
        elif kind == ids.SYNCED:
            if message[2] != self.host_id:
                return
            if self._snapshot.is_complete():
                self._on_synced()
            else:
                self._resubscribe()
        elif kind not in _NOTHING_NEW:
            self.skipped += 1

    def _on_synced(self) -> None:
        self.synced = True
        self._on_events(self._events.on_synced())
        self._listener.on_synced()

    def _delta(self, message: Message) -> None:
        try:
            sample = self._deltas.apply(message)
        except ValueError:
            self.malformed += 1
        else:
            if sample is not None:  # else it counts from one that was lost, which comes again
                self._sample(sample)

    def _sample(self, message: Message) -> None:
        values = message[2]
        if len(values) >= 2 and None not in values[:2]:
            uptime = (values[0], values[1])
            if uptime < self._uptime:
                self._on_restart()
                self._resubscribe()
            self._uptime = uptime
        self._state.on_message(message)

    def _on_events(self, events: list[tuple[Message, int]]) -> None:
        for message, missed in events:
            self._state.on_event(message, missed)

    def _on_restart(self) -> None:
        self._uptime = (0, 0)
        if self._boot_id is not None:
            self._events.restart()
            self._listener.on_restart()

    def _set_connected(self, connected: bool) -> None:
        if connected != self._connected:
            self._connected = connected
            self._listener.on_link_change(connected)

    # --- what the host sends --------------------------------------------------------------------

    def _resubscribe(self) -> None:
        """Request the full state again, but never more often than every SUBSCRIBE_S."""
        self._snapshot.miss()  # a SYNCED that is under way means nothing any more
        self._events.miss()
        self.synced = False

    def due(self, now: float) -> list[bytes]:
        """Return the payloads to send now."""
        payloads = []
        if self._connected and now >= self._frame_at + SILENCE_S:
            self._set_connected(False)
            self._resubscribe()
        if now >= self._frame_at + RENEW_S:
            self._begin_session(now)
        if not self.synced and now >= self._subscribe_due:
            self._subscribe_at = now + SUBSCRIBE_S
            self.confirmed = False
            self._events_from = self._events.wanted
            payloads.append(messages.subscribe(self.host_id, self._events_from))
        seq = self._acknowledged
        if seq is not None and (self._ack_due or now >= self._keepalive_at):
            self._keepalive_at = now + KEEPALIVE_S
            self._ack_due = False
            self._unacknowledged = 0
            payloads.append(messages.keepalive(self.host_id, seq))
        return payloads

    @property
    def _acknowledged(self) -> int | None:
        """The number up to which frames have come; None: there is nothing to acknowledge.

        Before a HELLO what comes tells nothing, but it fills the board's window all the same.
        """
        return self._last_seq if self.confirmed else self._heard_seq

    def _begin_session(self, now: float) -> None:
        """Begin another session: the board has ended this one."""
        self._frame_at = now
        self.host_id = new_host_id()
        self._listener.on_new_session()

    @property
    def _subscribe_due(self) -> float:
        """When to SUBSCRIBE; not while the last one is being answered, which would begin anew.

        A board whose loop is blocked for longer than SUBSCRIBE_S would never send it all.
        """
        if self.confirmed and self._snapshot.unbroken:
            return max(self._subscribe_at, self._content_at + SILENCE_S)
        return self._subscribe_at

    def due_at(self, now: float) -> float:
        """Return when due() next returns something, if nothing is received before."""
        times = [now + KEEPALIVE_S]
        if self._acknowledged is not None:
            times.append(now if self._ack_due else self._keepalive_at)
        if not self.synced:
            times.append(self._subscribe_due)
        if self._connected:
            times.append(self._frame_at + SILENCE_S)
        return min(times)

    def goodbye(self) -> bytes | None:
        """Return the payload that ends the session; None if the board does not listen."""
        return messages.unsubscribe(self.host_id) if self._connected else None
