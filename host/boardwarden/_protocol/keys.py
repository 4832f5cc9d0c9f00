"""The host's side of the handshake by which a board and a host prove a key, without I/O.

Rules: docs/security.md. Times are seconds of any one clock that never goes back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Protocol

from warden_schema import ids

from . import messages

REPEAT_S = 0.5  # between two sendings of what is not answered
GIVE_UP_S = 5.0  # without a proof, the connection may be dead
KEY_ENVIRONMENT = "BOARDWARDEN_KEY"  # names a key file; never holds a key
TRAILER_BYTES = ids.COUNTER_BYTES + ids.MAC_BYTES
_SIGNED = (ids.SUBSCRIBE, ids.UNSUBSCRIBE, ids.KEEPALIVE, ids.REQUEST)
_UNIQUE_ID = ids.IDENTITY.index("unique_id")
NOT_PROVED = -1  # reasons beside those of KEY_REFUSED: the board has not this key,
OTHER_BOARD = -2  # or it is another one than before


def hmac_of(key: bytes, *parts: bytes) -> bytes:
    """Return HMAC-SHA256 of parts, one after the other."""
    return hmac.digest(key, b"".join(parts), "sha256")


def mac_of(session_key: bytes, direction: bytes, text: bytes) -> bytes:
    """Return the MAC of a message and its counter; direction: b"h" from the host, b"b" back.

    Not HMAC, which takes a board twice as long: see docs/security.md.
    """
    return hashlib.sha256(session_key + direction + text).digest()[: ids.MAC_BYTES]


def board_key(secret: bytes, right: int, unique_id: bytes) -> bytes:
    """Return what a board has of a fleet's secret, for one right."""
    return hmac_of(secret, ids.RIGHTS[right].encode(), unique_id)


@dataclass(frozen=True)
class Secret:
    """A fleet's secret: its generations, newest first, and the highest right that it is good for.

    Never shown: neither as text nor in a traceback's values.
    """

    right: int
    generations: tuple[bytes, ...] = field(repr=False)


class Listener(Protocol):
    """Acts on how the handshake ends: the session."""

    def on_proved(self) -> None:
        """The board has proved the key, too."""

    def on_key_refused(self, reason: int) -> None:
        """There will be no proof; reason: of `ids`, or one of this module."""


class Keys:
    """One host's keys on one link: what is sent until a board has proved one, and signs after it.

    Without a secret there is nothing to prove, and nothing is signed.
    """

    def __init__(self, secret: Secret | None, listener: Listener) -> None:
        self.forged = 0  # replies with a wrong MAC, and HELLOs of another board
        self.proved = secret is None
        self.secret = secret
        self._listener = listener
        self._right = 0 if secret is None else secret.right
        self._unique_id: bytes | None = None  # of the board that proved a key first
        self._ended = False
        self._nonce = self._proof = b""
        self._begin(0.0)

    def on_open(self, now: float) -> None:
        """Begin on a fresh link: nothing is proved over it."""
        if self.secret is not None:
            self.proved = False
            self._ended = False
            self._right = self.secret.right
            self._begin(now)

    def _begin(self, now: float) -> None:
        self._nonce = secrets.token_bytes(ids.NONCE_BYTES)
        self._proof = b""  # payload, once there was a challenge
        self._candidates: list[tuple[bytes, bytes]] = []  # the board's proof, the session's key
        self._challenged_by = b""
        self._session_key = b""
        self._sent = self._received = 0  # counters
        self._due_at = now
        self.give_up_at = now + GIVE_UP_S

    # --- until it is proved ---------------------------------------------------------------------

    def due(self, now: float) -> list[bytes]:
        """Return the payloads to send now."""
        if self.proved or self._ended or now < self._due_at:
            return []
        self._due_at = now + REPEAT_S
        return [self._proof or self._greeting()]

    def due_at(self) -> float:
        """Return when due() next returns something, if nothing is received before."""
        return self.give_up_at if self._ended else min(self._due_at, self.give_up_at)

    def receive(self, payload: bytes, now: float) -> bytes | None:
        """Return what the session may process; None for what is the handshake's, or not genuine."""
        kind = payload[1] if len(payload) > 1 else 0
        if self.secret is None:
            if kind == ids.KEY_REFUSED and (message := messages.decode(payload)):
                self._listener.on_key_refused(message[2])
                return None
            return payload
        if self.proved:
            return self._genuine(kind, payload)
        message = messages.decode(payload)
        if message is not None and not self._ended:
            if kind == ids.CHALLENGE and message[2] == ids.KEYS_VERSION:
                self._on_challenge(message[3], message[4], message[5], now)
            elif kind == ids.PROVED and self._candidates:
                self._on_proved(message[2])
            elif kind == ids.KEY_REFUSED:
                self._on_refused(message[2], now)
        return None

    def _on_challenge(self, unique_id: bytes, boot_id: int, nonce: bytes, now: float) -> None:
        secret = self.secret
        is_sound = 0 <= boot_id < 2**32 and len(nonce) == ids.NONCE_BYTES and len(unique_id) < 256
        if secret is None or not is_sound:
            return
        if self._unique_id is not None and unique_id != self._unique_id:
            self._end(OTHER_BOARD)
            return
        transcript = b"".join(
            (
                bytes((ids.KEYS_VERSION, self._right, len(unique_id))),
                *(unique_id, boot_id.to_bytes(4, "big"), self._nonce, nonce),
            )
        )
        keys = [board_key(each, self._right, unique_id) for each in secret.generations]
        proofs = [hmac_of(key, b"host", transcript) for key in keys]
        self._candidates = [
            (hmac_of(key, b"board", transcript), hmac_of(key, b"session", transcript))
            for key in keys
        ]
        self._challenged_by = unique_id
        self._proof = self._proof_of(proofs)
        self._due_at = now

    def _greeting(self) -> bytes:
        return messages.greeting(self._right, self._nonce)

    def _proof_of(self, proofs: list[bytes]) -> bytes:
        return messages.proof(*proofs)

    def _on_proved(self, proof: bytes) -> None:
        for expected, session_key in self._candidates:
            if hmac.compare_digest(expected, proof):
                self._session_key = session_key
                self._unique_id = self._challenged_by
                self.proved = True
                self._listener.on_proved()
                return
        self._end(NOT_PROVED)

    def _on_refused(self, reason: int, now: float) -> None:
        if reason == ids.NO_RIGHT and self._right == ids.CONTROL:
            self._right = ids.OBSERVE  # which it may have
            self._begin(now)
        else:
            self._end(reason)

    def _end(self, reason: int) -> None:
        self._ended = True
        self._listener.on_key_refused(reason)

    # --- after it -------------------------------------------------------------------------------

    def sign(self, payload: bytes) -> bytes | None:
        """Return a payload as it is sent: with the next counter and its MAC, if it has to be.

        None for one that has to be while nothing is proved: it is of a session that has ended.
        """
        if self.secret is None or payload[1] not in _SIGNED:
            return payload
        if not self.proved:
            return None
        self._sent += 1
        text = payload + self._sent.to_bytes(ids.COUNTER_BYTES, "big")
        return text + mac_of(self._session_key, b"h", text)

    def _genuine(self, kind: int, payload: bytes) -> bytes | None:
        if kind == ids.HELLO and self._is_of_another(payload):
            self.forged += 1
            return None
        if kind != ids.REPLY:
            return payload
        text, mac = payload[: -ids.MAC_BYTES], payload[-ids.MAC_BYTES :]
        counter = int.from_bytes(text[-ids.COUNTER_BYTES :], "big")
        expected = mac_of(self._session_key, b"b", text)
        if not hmac.compare_digest(expected, mac) or counter <= self._received:
            self.forged += 1
            return None
        self._received = counter
        return payload[:-TRAILER_BYTES]

    def _is_of_another(self, payload: bytes) -> bool:
        """Return whether a HELLO names another board than the one that proved the key."""
        message = messages.decode(payload)
        if message is None or message[2] != ids.PROTOCOL_MAJOR:
            return False  # it is malformed, or refused
        identity = message[6]
        return len(identity) > _UNIQUE_ID and identity[_UNIQUE_ID] != self._unique_id
