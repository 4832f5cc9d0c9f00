"""A session's subscription and keys where all hosts read one stream of a board, as over MQTT.

Rules: docs/wire.md, "Over MQTT". The board sends its full state for any host, and from time to
time for none; each host joins by any of these. A host that may only read is so synced, too. Each
message of the handshake names the host.
"""

from __future__ import annotations

import random

from warden_schema import ids

from . import messages
from .keys import TRAILER_BYTES, Keys, Secret
from .keys import Listener as KeysListener
from .messages import Message
from .subscription import Listener, StateListener, Subscription, new_host_id

LIVE_S = 10.0  # at most between two frames of a board that runs
SILENCE_S = 25.0  # without a frame, the board counts as gone
FULL_STATE_S = 30.0  # at most between two full states that the board sends by itself
RETRY_S = (1.0, 4.0)  # before a request is sent again: its board reads one, then another
_KEEPALIVE_S = 3.0  # of a host that holds something
_SUBSCRIBE_S = (1.0, 8.0)  # between two SUBSCRIBEs that nothing answers: at first, at most
_OTHERS_S = 0.5  # at most, after a loss, until a SUBSCRIBE: another host's serves all
_BEGIN_S = 2.0  # for a board that is back to begin by itself
_MAX_HOSTS = 64  # in a full state; a board that has more in one makes no sense
_CONTENT_S = 2.5  # a full state of which nothing came for so long is not under way any more
_REPEAT_S = (1.0, 8.0)  # between two sendings of a handshake's message: at first, at most
_GIVE_UP_S = 30.0  # of a handshake
_HANDSHAKE = (ids.CHALLENGE, ids.PROVED, ids.KEY_REFUSED)


class SharedSubscription(Subscription):
    """One host's part in a stream that the board sends to all.

    A full state is under way from a HELLO to the first SYNCED for one of the hosts that had a
    HELLO in it. Where something of it was lost, it does not count, nor does one that began before
    its first frame came here: then a SYNCED for somebody else is the first.
    """

    __slots__ = ("_hosts", "_is_clean", "_now", "_offline", "_pause_s")

    def __init__(self, state: StateListener, listener: Listener) -> None:
        super().__init__(state, listener)
        self._hosts: set[int] = set()  # who had a HELLO in the full state that is under way
        self._is_clean = False
        self._offline = False
        self._pause_s = _SUBSCRIBE_S[0]
        self._now = 0.0

    def on_open(self, now: float) -> None:
        self._now = now
        super().on_open(now)
        self.confirmed = False
        self._hosts.clear()
        self._pause_s = _SUBSCRIBE_S[0]
        self._subscribe_at = now

    def on_presence(self, online: bool, now: float) -> None:
        if not online:
            self._offline = True
            self.confirmed = False
            self._hosts.clear()
            self._set_connected(False)
            self._resubscribe()
        elif self._offline:
            self._offline = False
            self._frame_at = now
            self._subscribe_at = now + _BEGIN_S

    def on_standstill(self, stood_s: float, now: float) -> None:
        """Go on after this host stood still: the stream went on without it."""
        self._frame_at = min(now, self._frame_at + stood_s)

    def set_right(self, right: int) -> None:
        """Have an id of those that hosts with this right have, see docs/wire.md."""
        self.host_id = self.host_id & ~1 | (right == ids.CONTROL)

    # --- what the board sends -------------------------------------------------------------------

    def receive(self, payload: bytes, now: float) -> None:
        self._now = now
        super().receive(payload, now)

    def _dispatch(self, kind: int, message: Message) -> bool:
        if kind == ids.HELLO:
            self._hello(message)
            return True
        if kind == ids.REFUSED:
            if message[4] == self.host_id:
                self._listener.on_refused(message[2], message[3], message[5])
            return False
        if not self._is_new(message[1]):
            return False
        if kind == ids.SYNCED:
            self._synced_for(message[2])
        elif kind != ids.REPLY or message[5] == self.host_id:
            self._process(kind, message)
        return True

    def _hello(self, message: Message) -> None:
        seq, major, minor, host_id, boot_id = message[1:6]
        if major != ids.PROTOCOL_MAJOR:
            self._listener.on_refused(major, minor, None)
            return
        is_broken = (
            self.answered and self._steps_ahead(seq) != 1 and (self.synced or bool(self._hosts))
        )
        self._last_seq, self._is_left = seq, False
        if boot_id != self._boot_id:
            self._on_restart()
        elif is_broken:
            self._count_gap()
            self._resubscribe()
        self._boot_id = boot_id
        if len(self._hosts) >= _MAX_HOSTS:
            self._hosts.clear()
        if not self._hosts:
            self._snapshot.begin()
            self._is_clean = True
        self._hosts.add(host_id)
        if host_id == self.host_id:
            self.confirmed = True
            self._listener.on_confirmed()
            self.needs_answer = False
            self._pause_s = _SUBSCRIBE_S[0]
        self._offline = False
        self._state.on_message(message)
        self._set_connected(True)

    def _synced_for(self, host_id: int) -> None:
        """A SYNCED came: of those who had a HELLO in a full state, the first ends it."""
        is_known = host_id in self._hosts
        self._hosts.clear()
        if is_known and self._is_clean and self._snapshot.is_complete():
            self._on_synced()
        elif not self.synced:
            self._resubscribe()

    def _on_restart(self) -> None:
        super()._on_restart()
        self.synced = False
        self._hosts.clear()
        self._events.miss()

    def _resubscribe(self) -> None:
        """Note that something is missing: the full state that is under way does not bring it."""
        super()._resubscribe()
        self._is_clean = False
        self._subscribe_at = max(self._subscribe_at, self._now + random.uniform(0, _OTHERS_S))

    # --- what the host sends --------------------------------------------------------------------

    def due(self, now: float) -> list[bytes]:
        self._now = now
        if self._offline:
            return []
        if now >= self._frame_at + SILENCE_S:
            self._begin_session(now)
        payloads = []
        if self._wants_to_subscribe and now >= self._subscribe_due:
            self._subscribe_at = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, _SUBSCRIBE_S[1])
            self.confirmed = False
            payloads.append(messages.subscribe(self.host_id))
        if self.holds and self._connected and now >= self._keepalive_at:
            self._keepalive_at = now + _KEEPALIVE_S
            payloads.append(messages.keepalive(self.host_id, self._last_seq or 0))
        return payloads

    def _begin_session(self, now: float) -> None:
        """Begin anew after a silence."""
        self._frame_at = now
        self._hosts.clear()
        self._set_connected(False)
        self._resubscribe()
        self.confirmed = self.holds = False
        self.host_id = new_host_id()
        self._listener.on_new_session()

    @property
    def _wants_to_subscribe(self) -> bool:
        return not self.synced or (self.needs_answer and not self.confirmed)

    @property
    def _subscribe_due(self) -> float:
        """When to SUBSCRIBE; not while a full state is under way, lost in part or not."""
        if self._hosts and not self.synced:
            return max(self._subscribe_at, self._content_at + _CONTENT_S)
        return self._subscribe_at

    def due_at(self, now: float) -> float:
        if self._offline:
            return now + SILENCE_S
        times = [self._frame_at + SILENCE_S]
        if self._wants_to_subscribe:
            times.append(self._subscribe_due)
        if self.holds and self._connected:
            times.append(self._keepalive_at)
        return min(times)

    def goodbye(self) -> bytes | None:
        """Return the payload that ends what this host holds; None if it holds nothing."""
        return super().goodbye() if self.holds else None


class SharedKeys(Keys):
    """One host's keys on a stream; `subscription` has the host's id, which is as its right is."""

    def __init__(
        self, secret: Secret | None, listener: KeysListener, subscription: SharedSubscription
    ) -> None:
        self._subscription = subscription
        self._was_wrong = False  # once, since the board proved the key last
        super().__init__(secret, listener)

    def _begin(self, now: float) -> None:
        unused = b"" if self._proof else self._nonce
        super()._begin(now)
        # A CHALLENGE that answers the last GREETING may be under way: it is of this one, too.
        self._nonce = unused or self._nonce
        self.give_up_at = now + _GIVE_UP_S
        self._pause_s = _REPEAT_S[0]
        if self.secret is not None:
            self._subscription.set_right(self._right)

    def _on_refused(self, reason: int, now: float) -> None:
        """Believe that the key is wrong the second time.

        A board keeps few handshakes: one that it forgot and began anew does not take the answer to
        its first CHALLENGE.
        """
        if reason == ids.WRONG and not self._was_wrong:
            self._was_wrong = True
            self._begin(now)
        else:
            super()._on_refused(reason, now)

    def _on_proved(self, proof: bytes) -> None:
        super()._on_proved(proof)
        self._was_wrong = False

    def due(self, now: float) -> list[bytes]:
        payloads = super().due(now)
        if payloads:
            self._due_at = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, _REPEAT_S[1])
        return payloads

    def receive(self, payload: bytes, now: float) -> bytes | None:
        """Return what the session may process; what is others' counts in the stream, too."""
        kind = payload[1] if len(payload) > 1 else 0
        if kind == ids.REPLY:
            return self._reply(payload, now)
        if kind not in _HANDSHAKE:
            return super().receive(payload, now)
        message = messages.decode(payload)
        last = len(ids.FIELDS[kind])
        if message is not None and message[last] == self._subscription.host_id:
            if not self.proved:
                super().receive(payload, now)
                return None
            if kind == ids.KEY_REFUSED and message[2] == ids.NEEDED:
                self._listener.on_key_refused(ids.NEEDED)
        return payload if self.proved else None

    def _reply(self, payload: bytes, now: float) -> bytes | None:
        """Return a reply without its signature; None for one to this host that is not genuine."""
        unsigned = payload if messages.decode(payload) else payload[:-TRAILER_BYTES]
        message = messages.decode(unsigned)
        if message is not None and message[5] == self._subscription.host_id:
            return super().receive(payload, now)
        return unsigned if self.proved else None

    def _greeting(self) -> bytes:
        host_id = self._subscription.host_id
        return messages.greeting(self._right, self._nonce, host_id)

    def _proof_of(self, proofs: list[bytes]) -> bytes:
        self._pause_s = _REPEAT_S[0]
        return messages.proof(proofs[0], proofs[-1], self._subscription.host_id)
