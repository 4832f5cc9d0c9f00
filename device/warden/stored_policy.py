"""The policy that the board stores over a reset, and the quotas of sessions that are part of it.

Imported only where one is stored or a host requests it. The file is a version byte, msgpack of
[interval_ms, budget_permille, limits, thresholds, quotas], and the CRC-16 of both. It is written
under another name and renamed, so that a loss of power leaves the old one or the new one. FAT has
to remove the old one first: where only the other name is there, that is read.

It has a brake: what would refuse or end everything at this moment is not stored unless the host
insists; what has done so for ten minutes, or ended three boots early, is set aside: renamed, and
not in force any more. And it is not written more often than flash lasts ten years.
"""

import os

from micropython import const

from warden.checks import check_int
from warden.errors import deny
from warden.policy.thresholds import DEFAULT_THRESHOLD, Thresholds
from warden.wear import wear
from warden_schema.codec import Reader, put
from warden_schema.frame import crc16
from warden_schema.values import read_value

_VERSION = const(1)
_MAX_FILE_BYTES = const(640)  # eight thresholds and eight quotas with the longest names take 590
_MAX_QUOTAS = const(8)
_MAX_NAME = const(24)
_MAX_QUOTA = const(0x3FFFFFFF)

_NOTHING = const(0)  # states: ids.KEPT
_IN_FORCE = const(1)
_BROKEN = const(2)
_SET_ASIDE = const(3)
_SAVE = const(1)  # requests: ids.KEEPING
_FORGET = const(2)
_INSIST = const(3)

_NORMAL = const(1)  # a priority
_MAX_EARLY = const(2)  # boots that a threshold ended early
_REFUSED_MS = const(600_000)
_TURN_MS = const(250)  # between two turns of the agent's task: what has less time ends at once
_QUOTA_TTL = const(3)  # a place in a quota

_NO_FILES = const((2, 19))  # ENOENT; ENODEV: nothing is mounted
_READ_ONLY = const((1, 13, 30))  # EPERM, EACCES, EROFS
_FULL = const((28, 36))  # ENOSPC; ENAMETOOLONG is what littlefs says of a new file when it is full
_NO_SPACE = const(28)
_POLICY_WRITE = const(1)  # a purpose of `wear`


def stored_policy_of(agent):
    """Return an agent's StoredPolicy, made at the first call."""
    policy = agent.policy
    if policy.stored_policy is None:
        policy.stored_policy = StoredPolicy(agent)
    return policy.stored_policy


class StoredPolicy:
    """Saves, loads and forgets the policy; `state` says what became of it."""

    def __init__(self, agent):
        self.agent = agent
        self.path = agent.board.path + ".policy"
        self.state = _NOTHING
        self.ignored = []  # what the application tried to change
        self.refused_ms = 0  # for how long it has refused all

    def overrules(self, what):
        """Return True where a stored policy is in force: the application may not change it then.

        what: for the event that says so, posted once for each.
        """
        if self.state != _IN_FORCE:
            return False
        if what not in self.ignored:
            self.ignored.append(what)
            self.agent.policy.events.post("policy", None, what + " ignored")
        return True

    # --- requests of a host ---------------------------------------------------------------------

    def request(self, what):
        """Save the policy as it is now (1; 3: even if it acts at once), forget it (2) or neither.

        Return [state, how many quotas there are]. Denied where the file system does not do it.
        """
        try:
            if what == _SAVE and self.acts_now():
                raise deny("keep:acts_now")
            if what == _SAVE or what == _INSIST:
                self.save()
            elif what == _FORGET:
                self.spend()
                for end in (".new", "", ".aside"):  # else the first would be read
                    _remove(self.path + end)
                self.on_written()
                self.set_state(_NOTHING, "forgotten")
        except OSError as error:
            reason = str(error.errno)
            if error.errno in _FULL:
                reason = "full"
            elif error.errno in _READ_ONLY:
                reason = "read_only"
            elif error.errno in _NO_FILES:
                reason = "no_files"
            raise deny("keep:" + reason)
        if self.state == _NOTHING and _read(self.path + ".aside") is not None:
            self.state = _SET_ASIDE
        return [self.state, len(self.agent.policy.quotas)]

    def set_quota(self, name, *values):
        """Set the quota of sessions of that name, for values that the application does not give.

        values: memory, storage, operations, ttl_ms, each may be None; if all are, the quota is
        removed.
        """
        policy = self.agent.policy
        quotas = dict(policy.quotas)  # a copy: another thread may read that one
        _put_quota(quotas, name, values)
        policy.quotas = quotas

    # --- the brake ------------------------------------------------------------------------------

    def acts_now(self):
        """Tell whether what is in force is critical, or leaves no memory or time, right now."""
        thresholds = self.agent.policy.thresholds
        for entry in thresholds.all():
            value = thresholds.read(entry.metric)
            if entry.action and None not in (value, entry.critical):
                if value * entry.sign >= entry.critical * entry.sign:
                    return True
        return self.leaves_nothing()

    def leaves_nothing(self):
        """Tell whether the reserve is all that there is of memory, or more; or no time is left."""
        memory = self.agent.memory
        reserve = self.agent.policy.memory_reserve_permille
        left = memory.total - (memory.live or 0)
        return left <= memory.total // 1000 * reserve or self.leaves_no_time()

    def leaves_no_time(self):
        """Tell whether operations, or the sessions of a name, end at once."""
        policy = self.agent.policy
        quotas = policy.quotas
        for name in quotas:
            if (quotas[name][_QUOTA_TTL] or _TURN_MS) < _TURN_MS:
                return True
        return policy.operation_timeout_ms < _TURN_MS

    def evaluate(self, period_ms):
        """Note whether all that is NORMAL is refused, period_ms after the last time."""
        policy = self.agent.policy
        if self.state == _IN_FORCE and (policy.pressure.refuses(_NORMAL) or self.leaves_nothing()):
            self.refused_ms += min(period_ms, _REFUSED_MS - 1)  # one sample alone does not tell
            if self.refused_ms >= _REFUSED_MS:
                policy.pressure.pending = True  # deliver() is called
        else:
            self.refused_ms = 0

    def deliver(self):
        """Set the policy aside if it has refused all for too long; the caller has no lock."""
        if self.refused_ms >= _REFUSED_MS:
            self.refused_ms = 0
            self.set_aside()

    def set_aside(self):
        """Follow the application again, now and after a restart; the file is renamed."""
        aside = self.path + ".aside"
        wear.join(self.agent.storage)
        wear.spend(_POLICY_WRITE, self.agent.clock.s)  # it protects: also where that is too often
        try:
            _remove(aside)
            if _read(self.path) is None:
                os.rename(self.path + ".new", aside)
            else:
                os.rename(self.path, aside)
                _remove(self.path + ".new")
        except OSError:  # it cannot be: it is not in force until the next start
            pass
        policy = self.agent.policy
        if self.state == _IN_FORCE:
            for entry in policy.thresholds.all():
                policy.thresholds.set(entry.metric)
            policy.thresholds.set(*DEFAULT_THRESHOLD)
            policy.set_limits(*policy.own_limits)
            policy.quotas = {}
        self.set_state(_SET_ASIDE, "set aside")

    # --- the file -------------------------------------------------------------------------------

    def set_state(self, state, detail):
        """Change the state, and post an event."""
        self.state = state
        self.ignored = []
        self.agent.policy.events.post("policy", None, detail)

    def spend(self):
        """Count a write to flash; Denied where there were too many."""
        wear.join(self.agent.storage)
        s = self.agent.clock.s
        if not wear.spend(_POLICY_WRITE, s):
            raise deny("keep:worn", None, (wear.deadline_s - s) * 1000)

    def on_written(self):
        """Have the count survive a reset, where there is a black box."""
        crashes = getattr(self.agent.board, "crashes", None)
        if crashes is not None:
            crashes.commit()

    def save(self):
        """Write the file, unless it has this content already, for flash wears."""
        data = self.encode()
        if _read(self.path) != data:
            self.spend()
            new = self.path + ".new"
            try:
                with open(new, "wb") as file:
                    if file.write(data) != len(data):
                        raise OSError(_NO_SPACE)
            except OSError:
                try:
                    os.remove(new)
                except OSError:
                    pass
                raise
            os.rename(new, self.path)
            _remove(self.path + ".aside")
            self.on_written()
        self.set_state(_IN_FORCE, "kept")

    def encode(self):
        """Return the policy that is in force, as the bytes of the file."""
        policy = self.agent.policy
        governor = self.agent.governor
        thresholds = [
            (each.metric, each.warn, each.critical, each.clear, each.hold_ms, each.action)
            for each in policy.thresholds.all()
        ]
        quotas = policy.quotas
        value = (
            governor.wanted_interval_ms
            or None,  # one that was stopped must not come back without samples
            governor.budget_permille,
            policy.limits(),
            thresholds,
            [(name,) + quotas[name] for name in sorted(quotas)],
        )
        data = bytearray(_MAX_FILE_BYTES)
        data[0] = _VERSION
        end = put(data, 1, value)
        crc = crc16(data, 0, end)
        data[end] = crc >> 8
        data[end + 1] = crc & 0xFF
        return bytes(data[: end + 2])

    def load(self):
        """Put the stored policy in force, instead of what `start()` was given.

        One that is broken makes an event, and changes nothing; one under which three boots ended
        early, or two by a threshold's reset, is set aside. Never raises for what it reads.
        """
        policy = self.agent.policy
        crashes = self.agent.board.crashes
        is_safe = crashes is not None and crashes.is_safe  # the application does not run
        if is_safe or policy.early_resets >= _MAX_EARLY:
            policy.early_resets = 0
            self.set_aside()
            return
        for path in (self.path, self.path + ".new"):
            try:
                data = _read(path)
                if data is not None:
                    self.apply(data)
                    self.set_state(_IN_FORCE, "in force")
                    return
            except Exception:  # whatever makes it useless, the board starts
                if path == self.path:  # an unfinished new one counts as none
                    self.set_state(_BROKEN, "broken")

    def apply(self, data):
        """Check the content of a file, then put it in force; raise if any of it is invalid."""
        end = len(data) - 2
        if data[0] != _VERSION or crc16(data, 0, len(data)):
            raise ValueError
        reader = Reader(data, 1, end)
        interval_ms, budget_permille, limits, rows, stored_quotas = read_value(reader)
        if reader.at != end or len(limits) != 4 or None in limits or budget_permille is None:
            raise ValueError
        agent = self.agent
        policy = agent.policy
        thresholds = Thresholds(policy)
        for row in rows:
            thresholds.set(*row)
        quotas = {}
        for quota in stored_quotas:
            _put_quota(quotas, quota[0], tuple(quota[1:]))
        before = policy.limits()
        policy.set_limits(*limits)
        try:
            agent.start_monitoring(
                interval_ms or agent.governor.wanted_interval_ms, budget_permille
            )
        except BaseException:
            policy.set_limits(*before)
            raise
        with policy.lock:
            for row in range(len(thresholds.rows)):
                policy.thresholds.put(row, thresholds.rows[row])
        policy.quotas = quotas


def _put_quota(quotas, name, values):
    """Put a quota into a dict of them, or take it out; raise Denied, TypeError or ValueError."""
    if not isinstance(name, str) or not 1 <= len(name.encode()) <= _MAX_NAME or len(values) != 4:
        raise ValueError
    for value in values:
        if value is not None:
            check_int("quota", value, 1, _MAX_QUOTA)
    if values == (None, None, None, None):
        quotas.pop(name, None)
    elif name not in quotas and len(quotas) == _MAX_QUOTAS:
        raise deny("table")
    else:
        quotas[name] = values


def _read(path):
    """Return the content of a file, None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_FILE_BYTES + 1)
    except OSError:
        return None


def _remove(path):
    """Remove a file if it is there; raise OSError where that cannot be."""
    try:
        os.remove(path)
    except OSError as error:
        if error.errno not in _NO_FILES:
            raise
