"""The host's side of the handshake where all hosts read one stream, as over MQTT.

Each of its messages names the host. Rules: docs/wire.md, "Over MQTT".
"""

from __future__ import annotations

from warden_schema import ids

from . import messages
from .keys import TRAILER_BYTES, Keys, Listener, Secret
from .shared_subscription import SharedSubscription

_REPEAT_S = (1.0, 8.0)  # between two sendings of what is not answered: at first, at most
_GIVE_UP_S = 30.0
_HANDSHAKE = (ids.CHALLENGE, ids.PROVED, ids.KEY_REFUSED)


class SharedKeys(Keys):
    """One host's keys on a stream; `subscription` has the host's id, which is as its right is."""

    def __init__(
        self, secret: Secret | None, listener: Listener, subscription: SharedSubscription
    ) -> None:
        self._subscription = subscription
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

    def due(self, now: float) -> list[bytes]:
        """Return the payloads to send now."""
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
        return messages.greeting(ids.KEYS_VERSION, self._right, self._nonce, host_id)

    def _proof_of(self, proofs: list[bytes]) -> bytes:
        self._pause_s = _REPEAT_S[0]
        return messages.proof(proofs[0], proofs[-1], self._subscription.host_id)
