"""The policy that the board keeps over a reset, and the quotas of sessions that are part of it.

Imported only where one is kept or a host asks for it. The file is a version byte, msgpack of
[interval_ms, budget_permille, limits, thresholds, quotas], and the CRC-16 of both. It is written
under another name and renamed, so that a loss of power leaves the old one or the new one. FAT has
to remove the old one first: where only the other name is there, that is read.
"""

import os

from micropython import const

from warden.errors import Denied
from warden.levels import Thresholds
from warden.limits import check_budget, check_limits
from warden_schema import codec
from warden_schema.loops import crc16

_VERSION = const(1)
_MAX_BYTES = const(640)  # eight thresholds and eight quotas with the longest names take 590
_MAX_QUOTAS = const(8)
_MAX_NAME = const(24)
_MOST = const(0x3FFFFFFF)
_CRC_START = const(0xFFFF)
_BUDGET = const(31)  # in the sample's words, as in `limits`
_WANTED = const(32)

# States, and what KEEP is asked.
_NOTHING = const(0)
_IN_FORCE = const(1)
_BROKEN = const(2)
_WRITE = const(1)
_FORGET = const(2)

_ENOENT = const(2)
_NO_FILES = (_ENOENT, 19)  # ENODEV: nothing is mounted
_READ_ONLY = (1, 13, 30)  # EPERM, EACCES, EROFS
_FULL = const(28)  # ENOSPC
_FULL_LITTLEFS = const(36)  # what it says of a new file when it is full: ENAMETOOLONG


def of(agent):
    """Return the Kept of an agent; made at the first call."""
    policy = agent.decide()
    if policy.kept is None:
        policy.kept = Kept(agent, policy)
    return policy.kept


def restore(agent):
    """Put the kept policy in force, instead of what `start()` was given.

    One that is broken is told by an event, and changes nothing. Never raises for what it reads.
    """
    of(agent).read()


class Kept:
    """Writes, reads and forgets the file; `state` is what became of it."""

    def __init__(self, agent, policy):
        self.state = _NOTHING
        self._agent = agent
        self._policy = policy
        self._path = agent._board.policy_path
        self._ignored = []  # what was told to be

    def overrules(self, what):
        """Tell whether the application may not change the policy; an event says so, once each."""
        if self.state != _IN_FORCE:
            return False
        if what not in self._ignored:
            self._ignored.append(what)
            self._post(what + " ignored")
        return True

    # --- what a host asks -----------------------------------------------------------------------

    def asked(self, what):
        """Write the policy as it is now (1), forget it (2) or neither (0); return how it stands."""
        if what == _WRITE:
            self._write()
        elif what == _FORGET:
            self._forget()
        elif what:
            raise ValueError("0, 1 or 2")
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
        quotas = self._policy.sessions.quotas
        if not _check_quota(name, figures):
            quotas.pop(name, None)
        elif name not in quotas and len(quotas) == _MAX_QUOTAS:
            raise Denied("table")
        else:
            quotas[name] = figures

    # --- the file -------------------------------------------------------------------------------

    def _write(self):
        data = self._encoded()
        new = self._path + ".new"
        try:
            with open(new, "wb") as file:
                if file.write(data) != len(data):
                    raise OSError(_FULL)
        except OSError as error:
            _remove(new)
            raise _refusal(error)
        try:
            os.rename(new, self._path)
        except OSError as error:
            raise _refusal(error)
        self._is(_IN_FORCE, "kept")

    def _forget(self):
        for path in (self._path + ".new", self._path):  # else the first would be read
            error = _remove(path)
            if error is not None and error.errno not in _NO_FILES:
                raise _refusal(error)
        self._is(_NOTHING, "forgotten")

    def read(self):
        """Put in force what is kept; see restore()."""
        for path in (self._path, self._path + ".new"):
            try:
                with open(path, "rb") as file:
                    self._use(_decoded(file.read(_MAX_BYTES + 1)))
                self._is(_IN_FORCE, "in force")
                return
            except OSError:
                continue
            except Exception:  # whatever makes it useless, the board starts
                if path == self._path:  # an unfinished new one is as none
                    self._is(_BROKEN, "broken")

    def _is(self, state, told):
        self.state = state
        self._ignored = []
        self._post(told)

    def _post(self, told):
        self._policy.events.post("policy", None, told)

    # --- what is in it --------------------------------------------------------------------------

    def _encoded(self):
        policy = self._policy
        agent = self._agent
        thresholds = [
            (each.metric, each.warn, each.critical, each.clear, each.hold_ms, each.action)
            for each in policy.thresholds.all()
        ]
        quotas = [(name,) + tuple(figures) for name, figures in policy.sessions.quotas.items()]
        # A board that was told to stop looking would come back blind: its start() says how often.
        values = (agent.values[_WANTED] or None, agent.values[_BUDGET], policy.limits())
        data = bytearray(_MAX_BYTES)
        data[0] = _VERSION
        end = codec.put(data, 1, values + (thresholds, quotas))
        crc = crc16(data, 0, end, _CRC_START)
        data[end] = crc >> 8
        data[end + 1] = crc & 0xFF
        return data[: end + 2]

    def _use(self, value):
        """Check all of it, then have it; raises for what makes no sense."""
        interval_ms, budget_permille, limits, rows, kept = value
        agent = self._agent
        policy = self._policy
        check_limits(*limits)
        check_budget(budget_permille)
        thresholds = Thresholds(None, None, policy.thresholds.can_reset)
        for row in rows:
            thresholds.set(*row)
        quotas = {}
        for quota in kept:
            figures = tuple(quota[1:])
            if _check_quota(quota[0], figures):
                quotas[quota[0]] = figures
        agent.start_monitoring(interval_ms or agent.values[_WANTED], budget_permille)
        policy.set_limits(*limits)
        policy.thresholds.replace(thresholds)
        policy.sessions.quotas = quotas


def _decoded(data):
    """Return the value in a file's bytes; raise ValueError."""
    end = len(data) - 2
    if end < 1 or data[0] != _VERSION:
        raise ValueError("another version")
    if crc16(data, 0, end, _CRC_START) != data[end] << 8 | data[end + 1]:
        raise ValueError("damaged")
    cursor = codec.Cursor(data)
    cursor.begin(1, end)
    value = cursor.value()
    if cursor.at != end:
        raise ValueError("more than one value")
    return value


def _check_quota(name, figures):
    """Return whether there are any figures; raise TypeError or ValueError."""
    if not isinstance(name, str) or not 1 <= len(name.encode()) <= _MAX_NAME:
        raise ValueError("a name has 1 to 24 bytes")
    if len(figures) != 4:
        raise TypeError("memory, storage, operations, ttl_ms")
    for value in figures:
        if value is not None and not 1 <= value <= _MOST:
            raise ValueError("figures are positive, or None")
    return figures != (None, None, None, None)


def _remove(path):
    """Remove a file; return the error where that cannot be."""
    try:
        os.remove(path)
    except OSError as error:
        return error


def _refusal(error):
    """Return the Denied that an OSError means."""
    number = error.errno
    if number in (_FULL, _FULL_LITTLEFS):
        return Denied("keep:full")
    if number in _READ_ONLY:
        return Denied("keep:read_only")
    return Denied("keep:no_files" if number in _NO_FILES else "keep:" + str(number))
