"""Who may see the page, and from where: the file of users, their sessions, who is let in.

`boardwarden users` writes the file, `boardwarden serve` reads it. It has a scrypt hash of each
password, never the password. Parameters are stored with each hash, so that a later version can
raise them. Sessions are in the server's memory; they end, and there is a brake on guessing.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from boardwarden._clock import passed_s
from boardwarden._paths import is_shared, reason

OBSERVE, CONTROL = RIGHTS = ("observe", "control")
MIN_PASSWORD = 8  # characters
_MAX_PASSWORD = 1024
_MAX_NAME = 64
_MAX_FILE = 1_000_000
# OWASP's Password Storage Cheat Sheet: N = 2**15, r = 8, p = 3; 32 MB while it is computed.
_N, _R, _P = 1 << 15, 8, 3
_MAX_N = 1 << 16  # and _R: a little more than 64 MB
_MAX_MEMORY = 128 << 20
_FORMAT = 1
IDLE_S = 3600.0  # without a request or an open page
LONGEST_S = 12 * 3600.0
_MAX_SESSIONS = 1000
_FREE_ATTEMPTS = 3  # failed ones, before the next has to wait
_LONGEST_WAIT_S = 60.0
_FORGET_S = 900.0
_MAX_PEERS = 10_000
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::[0-9]{1,5})?")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AccessError(ValueError):
    """The page cannot be served as it is asked for; its text is the sentence that says why."""


class UsersError(ValueError):
    """The file of users cannot be read or written; its text is the sentence that says why."""


@dataclass(frozen=True)
class User:
    """Who may see the page: `right` is "observe" or "control"; salt and hash in hexadecimal."""

    name: str
    right: str
    salt: str
    hash: str
    n: int = _N
    r: int = _R
    p: int = _P


def check_name(name: str) -> str:
    """Return a user's name; raise UsersError for one that cannot be shown on one line."""
    if not (0 < len(name) <= _MAX_NAME and name.isprintable() and name == name.strip()):
        raise UsersError(f"{name!r} is no user's name: 1 to {_MAX_NAME} printable characters.")
    return name


def new_user(name: str, right: str, password: str) -> User:
    """Return a user with a password; raise UsersError for one too short or long."""
    if not MIN_PASSWORD <= len(password) <= _MAX_PASSWORD:
        raise UsersError(f"A password has {MIN_PASSWORD} to {_MAX_PASSWORD} characters.")
    salt = secrets.token_bytes(16)
    return User(check_name(name), right, salt.hex(), _hash(password, salt, _N, _R, _P))


def is_password(user: User | None, password: str) -> bool:
    """Return whether a password is the user's; for None it takes as long, and is not."""
    if user is None:
        _hash(password[:_MAX_PASSWORD], bytes(16), _N, _R, _P)
        return False
    found = _hash(password[:_MAX_PASSWORD], bytes.fromhex(user.salt), user.n, user.r, user.p)
    return hmac.compare_digest(found, user.hash) and len(password) <= _MAX_PASSWORD


def _hash(password: str, salt: bytes, n: int, r: int, p: int) -> str:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=32).hex()


def load_users(path: Path) -> dict[str, User]:
    """Return the users of a file by their names; raise UsersError."""
    try:
        with path.open("rb") as file:
            if is_shared(file):
                raise UsersError(f"Others may read or change {path}: chmod 600 it.")
            data = file.read(_MAX_FILE + 1)
        found = json.loads(data)
        if found["format"] != _FORMAT:
            raise UsersError(f"{path} is of a newer boardwarden: format {found['format']!r}.")
        return {each["name"]: _checked(User(**each)) for each in found["users"]}
    except OSError as error:
        raise UsersError(f"Cannot read {path}: {reason(error)}.") from None
    except UsersError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsersError(f"{path} is no file of users: make one by boardwarden users.") from None


def _checked(user: User) -> User:
    """Return a user from a file; raise ValueError where a field is none that new_user() writes."""
    numbers = (user.n, user.r, user.p)
    if not all(type(each) is int for each in numbers) or user.right not in RIGHTS:
        raise ValueError
    if not isinstance(user.name, str):
        raise ValueError
    if not 1 < user.n <= _MAX_N or user.n & (user.n - 1) or user.r != _R or not 0 < user.p <= 16:
        raise ValueError  # what takes more memory or time than a login may
    if len(bytes.fromhex(user.salt)) < 8 or len(bytes.fromhex(user.hash)) != 32:
        raise ValueError
    check_name(user.name)
    return user


def save_users(path: Path, users: Mapping[str, User]) -> None:
    """Write the file anew, for its owner only; raise UsersError, and the old file stays whole."""
    text = json.dumps({"format": _FORMAT, "users": [asdict(users[name]) for name in sorted(users)]})
    try:
        number, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # mode 0600
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise UsersError(f"Cannot write {path}: {reason(error)}.") from None


class UsersFile:
    """A file of users that is read again when it changed; an unreadable one lets nobody in."""

    def __init__(self, path: Path) -> None:
        """Raise UsersError where it cannot be read now."""
        self._path = path
        self._users = load_users(path)
        self._stamp = self._now()

    def get(self, name: str) -> User | None:
        """Return the user of a name; None if there is none (any more)."""
        now = self._now()
        if now is None or now != self._stamp:
            try:
                self._users = load_users(self._path)
                self._stamp = now
            except UsersError:
                self._users, self._stamp = {}, None
        return self._users.get(name)

    def _now(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass
class Session:
    """A user's session; times are of passed_s()."""

    user: User  # as of the begin, with the password's hash of then
    began: float
    used: float


class Sessions:
    """Sessions by their tokens, of which only hashes are stored."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}

    def begin(self, user: User) -> str:
        """Begin a session; return its token, 32 random bytes in URL-safe Base64."""
        self._drop_ended()
        while len(self._sessions) >= _MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].used)]
        token = secrets.token_urlsafe(32)
        now = passed_s()
        self._sessions[_key(token)] = Session(user, now, now)
        return token

    def user(self, token: str) -> User | None:
        """Return whose session a token is, and note that it is used; None if it has ended."""
        found = self._sessions.get(_key(token))
        if found is None or self._has_ended(found):
            return None
        found.used = passed_s()
        return found.user

    def end(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_key(token), None)

    def _has_ended(self, each: Session) -> bool:
        now = passed_s()
        return now - each.used > IDLE_S or now - each.began > LONGEST_S

    def _drop_ended(self) -> None:
        for key in [key for key, each in self._sessions.items() if self._has_ended(each)]:
            del self._sessions[key]


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Brake:
    """Makes peers wait that sign in wrongly: after three failures 2 s, 4 s, … a minute at most.

    A peer is an address; of IPv6 its network of 64 bits, in which one machine has any number. Its
    failures are those of all names together; who signs in has those of that name forgotten, no
    others: one's own password is no way to guess another's.
    """

    def __init__(self) -> None:
        # How many of a network and a name, and when the last was.
        self._failures: dict[tuple[str, bytes], tuple[int, float]] = {}

    def wait_s(self, peer: str) -> float:
        """Return for how many more seconds a peer has to wait; 0 if it has not to."""
        network, now = _network(peer), passed_s()
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
        now = passed_s()
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


# --- who is let in --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Access:
    """Who may see the page, and how it is known who they are.

    tls: certificate and key; proxies: from whom `user_header` is believed, and nothing else is
    taken; names: by which browsers reach the page, besides the address that it listens on.
    """

    users: UsersFile | None = None
    tls: tuple[Path, Path] | None = None
    proxies: tuple[Network, ...] = ()
    user_header: str = ""
    names: tuple[str, ...] = ()

    def right(self, user: str | None) -> str | None:
        """Return the right of a user who is known to be the one: None if there is none."""
        found = None if self.users is None or user is None else self.users.get(user)
        if found is not None:
            return found.right
        if self.proxies:
            return None if not user else OBSERVE
        return OBSERVE if self.users is None else None

    def words(self) -> str:
        """Return who may do what, in a clause."""
        if self.proxies:
            rest = "and control as the file of users says" if self.users else "and nobody controls"
            return f"whom the proxy names may look, {rest}"
        if self.users is not None:
            return "the file of users says who may look, and who may control"
        return "whoever uses this machine may look, and nobody controls: see boardwarden users"


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return addresses or networks, such as 192.0.2.7 or 10.0.0.0/8; raise AccessError."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            raise AccessError(
                f"{text!r} is no address of a proxy: 192.0.2.7, or a network, 10.0.0.0/8."
            ) from None
    return tuple(found)


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_access(host: str, access: Access) -> None:
    """Raise AccessError where the page would be open to others than are meant."""
    if bool(access.proxies) != bool(access.user_header):
        raise AccessError("--proxy and --user-header go together: from whom, and in which header.")
    for name in access.names:
        if not _is_name(name):
            raise AccessError(
                f"--name {name!r} is no name: give it without scheme and port, such as "
                "boards.example.org."
            )
    if is_loopback(host):
        return
    if not access.tls and not access.proxies:
        raise AccessError(
            f"On {host} passwords and figures would cross the network unencrypted: give --tls-cert "
            "and --tls-key, or --proxy and --user-header, or listen on 127.0.0.1."
        )
    if access.users is None and not access.proxies:
        raise AccessError(
            f"On {host} anyone who reaches it could look: give --users, a file made by "
            "boardwarden users, or listen on 127.0.0.1."
        )
    if not access.names and host in ("0.0.0.0", "::"):
        raise AccessError(
            f"On {host} give --name, by which browsers reach the page, such as boards.example.org."
        )


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port; empty for what is no name."""
    found = _HOST.fullmatch(host)
    return "" if found is None else (found[1] or found[2]).lower()


def _is_name(name: str) -> bool:
    """Return whether a Host header can name that, with a port after it: a name or an address."""
    try:
        return bool(ipaddress.IPv6Address(name))
    except ValueError:
        return ":" not in name and host_name(name) == name.lower() != ""
