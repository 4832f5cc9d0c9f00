"""Who is signed in: sessions in the server's memory, which end, and a brake on guessing."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from .users import User

IDLE_S = 3600.0  # without a request or an open page
LONGEST_S = 12 * 3600.0
_MAX_SESSIONS = 1000
_FREE_ATTEMPTS = 3  # failed ones, before the next has to wait
_LONGEST_WAIT_S = 60.0
_FORGET_S = 900.0
_MAX_PEERS = 10_000


@dataclass
class Session:
    """A user's session; times are of the clock that Sessions has."""

    user: User  # as of the begin, with the password's hash of then
    began: float
    used: float


class Sessions:
    """Sessions by their tokens, of which only hashes are stored."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}

    def begin(self, user: User) -> str:
        """Begin a session; return its token, 32 random bytes in URL-safe Base64."""
        self._drop_ended()
        while len(self._sessions) >= _MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].used)]
        token = secrets.token_urlsafe(32)
        now = self._clock()
        self._sessions[_key(token)] = Session(user, now, now)
        return token

    def user(self, token: str) -> User | None:
        """Return whose session a token is, and note that it is used; None if it has ended."""
        found = self._sessions.get(_key(token))
        if found is None or self._has_ended(found):
            return None
        found.used = self._clock()
        return found.user

    def end(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_key(token), None)

    def _has_ended(self, each: Session) -> bool:
        now = self._clock()
        return now - each.used > IDLE_S or now - each.began > LONGEST_S

    def _drop_ended(self) -> None:
        for key in [key for key, each in self._sessions.items() if self._has_ended(each)]:
            del self._sessions[key]


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Brake:
    """Has who signs in wrongly wait, by peer: after three failures 2 s, 4 s, … a minute at most.

    A peer is an address; of IPv6 its network of 64 bits, in which one machine has any number. Its
    failures are those of all names together; who signs in has those of that name forgotten, no
    others: one's own password is no way to guess another's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # How many of a network and a name, and when the last was.
        self._failures: dict[tuple[str, bytes], tuple[int, float]] = {}

    def wait_s(self, peer: str) -> float:
        """Return for how many more seconds a peer has to wait; 0 if it has not to."""
        network, now = _network(peer), self._clock()
        found = [
            each
            for key, each in self._failures.items()
            if key[0] == network and now - each[1] <= _FORGET_S
        ]
        count = sum(each[0] for each in found)
        if count < _FREE_ATTEMPTS:
            return 0.0
        last = max(each[1] for each in found)
        wait = min(_LONGEST_WAIT_S, 2.0 ** min(10, count - _FREE_ATTEMPTS + 1))
        return max(0.0, last + wait - now)

    def failed(self, peer: str, name: str) -> None:
        """Count a failure of a peer to sign in by a name."""
        key = _network(peer), _key(name)
        now = self._clock()
        if len(self._failures) >= _MAX_PEERS:
            recent = {
                key: each for key, each in self._failures.items() if now - each[1] < _FORGET_S
            }
            self._failures = recent if len(recent) < _MAX_PEERS else {}
        count, last = self._failures.get(key, (0, now))
        self._failures[key] = (1 if now - last > _FORGET_S else count + 1, now)

    def succeeded(self, peer: str, name: str) -> None:
        """Forget the failures of a peer by a name."""
        self._failures.pop((_network(peer), _key(name)), None)


def _network(peer: str) -> str:
    try:
        address = ipaddress.IPv6Address(peer)
    except ValueError:
        return peer
    return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address), 64), strict=False))
