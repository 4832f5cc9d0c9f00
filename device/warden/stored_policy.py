"""The policy that the board stores over a reset, and the quotas of sessions that are part of it.

Imported only where one is stored or a host requests it. The file is a version byte, msgpack of
[interval_ms, budget_permille, limits, thresholds, quotas], and the CRC-16 of both. It is written
under another name and renamed, so that a loss of power leaves the old one or the new one. FAT has
to remove the old one first: where only the other name is there, that is read.
"""

import os

from micropython import const

from warden.errors import deny
from warden.policy.thresholds import Thresholds
from warden_schema.codec import Reader, put
from warden_schema.frame import crc16

_VERSION = const(1)
_MAX_BYTES = const(640)  # eight thresholds and eight quotas with the longest names take 590
_MAX_QUOTAS = const(8)
_MAX_NAME = const(24)
_MAX_FIGURE = const(0x3FFFFFFF)

_NOTHING = const(0)  # states: ids.KEPT
_IN_FORCE = const(1)
_BROKEN = const(2)
_SAVE = const(1)  # requests: ids.KEEPING
_FORGET = const(2)

_NO_FILES = (2, 19)  # ENOENT; ENODEV: nothing is mounted
_READ_ONLY = (1, 13, 30)  # EPERM, EACCES, EROFS
_FULL = (28, 36)  # ENOSPC; ENAMETOOLONG is what littlefs says of a new file when it is full


def stored_policy_of(agent):
    """Return an agent's StoredPolicy, made at the first call."""
    policy = agent.policy
    if policy.stored_policy is None:
        policy.stored_policy = StoredPolicy(agent)
    return policy.stored_policy


class StoredPolicy:
    """Saves, loads and forgets the policy; `state` says what became of it."""

    def __init__(self, agent):
        self.state = _NOTHING
        self._agent = agent
        self._policy = agent.policy
        self._path = agent.board.policy_path
        self._ignored = []  # what the application tried to change

    def overrules(self, what):
        """Tell whether the application may not change the policy; makes an event, once for each."""
        if self.state != _IN_FORCE:
            return False
        if what not in self._ignored:
            self._ignored.append(what)
            self._policy.events.post("policy", None, what + " ignored")
        return True

    def _become(self, state, detail):
        self.state = state
        self._ignored = []
        self._policy.events.post("policy", None, detail)

    # --- requests of a host ---------------------------------------------------------------------

    def request(self, what):
        """Save the policy as it is now (1), forget it (2) or neither (0, None).

        Return [state, how many quotas there are]. Denied where the file system does not do it.
        """
        try:
            if what == _SAVE:
                self._save()
            elif what == _FORGET:
                self._forget()
            elif what:
                raise ValueError("0, 1 or 2")
        except OSError as error:
            number = error.errno
            reason = str(number)
            if number in _FULL:
                reason = "full"
            elif number in _READ_ONLY:
                reason = "read_only"
            elif number in _NO_FILES:
                reason = "no_files"
            raise deny("keep:" + reason)
        return [self.state, len(self._policy.sessions.quotas)]

    def quota(self, place):
        """Return [name, memory, storage, operations, ttl_ms] of a quota, None where there is none.

        They are in the order of their names.
        """
        quotas = self._policy.sessions.quotas
        if not 0 <= place < len(quotas):
            return None
        name = sorted(quotas)[place]
        return [name] + list(quotas[name])

    def set_quota(self, name, *figures):
        """Set what sessions of that name get where the application gives no figure.

        figures: memory, storage, operations, ttl_ms, each may be None; if all are, the quota is
        taken away.
        """
        quotas = dict(self._policy.sessions.quotas)  # a copy: another thread may read that one
        _put_quota(quotas, name, figures)
        self._policy.sessions.quotas = quotas

    # --- the file -------------------------------------------------------------------------------

    def _save(self):
        data = self._encode()
        if _read(self._path) != data:  # flash wears
            new = self._path + ".new"
            try:
                with open(new, "wb") as file:
                    if file.write(data) != len(data):
                        raise OSError(_FULL[0])
            except OSError:
                _remove(new)
                raise
            os.rename(new, self._path)
        self._become(_IN_FORCE, "kept")

    def _forget(self):
        for path in (self._path + ".new", self._path):  # else the first would be read
            error = _remove(path)
            if error is not None and error.errno not in _NO_FILES:
                raise error
        self._become(_NOTHING, "forgotten")

    def load(self):
        """Put the stored policy in force, instead of what `start()` was given.

        One that is broken makes an event, and changes nothing. Never raises for what it reads.
        """
        for path in (self._path, self._path + ".new"):
            try:
                data = _read(path)
                if data is not None:
                    self._apply(*_decode(data))
                    self._become(_IN_FORCE, "in force")
                    return
            except Exception:  # whatever makes it useless, the board starts
                if path == self._path:  # an unfinished new one counts as none
                    self._become(_BROKEN, "broken")

    def _encode(self):
        policy = self._policy
        governor = self._agent.governor
        thresholds = []
        for each in policy.thresholds.all():
            levels = (each.warn, each.critical, each.clear)
            thresholds.append((each.metric,) + levels + (each.hold_ms, each.action))
        quotas = [(name,) + policy.sessions.quotas[name] for name in sorted(policy.sessions.quotas)]
        # A board that was told to stop monitoring would come back blind: no interval is stored.
        value = (governor.wanted_ms or None, governor.budget_permille, policy.limits.all())
        data = bytearray(_MAX_BYTES)
        data[0] = _VERSION
        end = put(data, 1, value + (thresholds, quotas))
        crc = crc16(data, 0, end)
        data[end] = crc >> 8
        data[end + 1] = crc & 0xFF
        return bytes(data[: end + 2])

    def _apply(self, interval_ms, budget_permille, limits, rows, stored_quotas):
        """Check all of it, then put it in force; raises for what makes no sense."""
        agent = self._agent
        policy = self._policy
        thresholds = Thresholds(None, policy.events, agent.board.can_reset())
        for row in rows:
            thresholds.set(*row)
        quotas = {}
        for quota in stored_quotas:
            _put_quota(quotas, quota[0], tuple(quota[1:]))
        if len(limits) != 4 or None in limits or budget_permille is None:
            raise ValueError("four limits and a budget")
        before = policy.limits.all()
        policy.set_limits(*limits)
        try:
            agent.start_monitoring(interval_ms or agent.governor.wanted_ms, budget_permille)
        except BaseException:
            policy.set_limits(*before)
            raise
        policy.thresholds.replace(thresholds)
        policy.sessions.quotas = quotas


def _put_quota(quotas, name, figures):
    """Put a quota into a dict of them, or take it out; raise Denied, TypeError or ValueError."""
    if not isinstance(name, str) or not 1 <= len(name.encode()) <= _MAX_NAME:
        raise ValueError("a name has 1 to 24 bytes")
    if len(figures) != 4:
        raise TypeError("memory, storage, operations, ttl_ms")
    for value in figures:
        if value is not None and not 1 <= value <= _MAX_FIGURE:
            raise ValueError("figures are positive, or None")
    if figures == (None, None, None, None):
        quotas.pop(name, None)
    elif name not in quotas and len(quotas) == _MAX_QUOTAS:
        raise deny("table")
    else:
        quotas[name] = figures


def _read(path):
    """Return the content of a file, None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES + 1)
    except OSError:
        return None


def _decode(data):
    """Return the value in a file's bytes; raise ValueError."""
    end = len(data) - 2
    if end < 1 or data[0] != _VERSION:
        raise ValueError("another version")
    if crc16(data, 0, end) != data[end] << 8 | data[end + 1]:
        raise ValueError("damaged")
    reader = Reader(data)
    reader.begin(1, end)
    value = reader.value()
    if reader.at != end:
        raise ValueError("more than one value")
    return value


def _remove(path):
    """Remove a file; return the error where that cannot be."""
    try:
        os.remove(path)
    except OSError as error:
        return error
