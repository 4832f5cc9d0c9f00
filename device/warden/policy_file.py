"""The file of a stored policy, and the quotas of sessions that are part of it.

Loaded where one is stored, as the agent starts, and for requests of a host that change it; let go
each time. The file is a version byte, msgpack of [interval_ms, budget_permille, limits, thresholds,
quotas], and the CRC-16 of both. It is written under another name and renamed, so that a loss of
power leaves the old one or the new one. FAT has to remove the old one first: where only the other
name is there, that is read.

What would refuse or end everything at this moment is not stored unless the host insists; and it is
not written more often than flash lasts ten years.
"""

import os
import sys

from micropython import const

from warden.checks import check_int
from warden.errors import deny
from warden.policy.thresholds import Thresholds
from warden.sensors.threads import import_lock
from warden.stored_policy import read, remove, stored_policy_of
from warden.wear import wear
from warden_schema.codec import Reader, put
from warden_schema.loops import crc16
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

_MAX_EARLY = const(2)  # boots that a threshold ended early

_NO_FILES = const((2, 19))  # ENOENT; ENODEV: nothing is mounted
_READ_ONLY = const((1, 13, 30))  # EPERM, EACCES, EROFS
_FULL = const((28, 36))  # ENOSPC; ENAMETOOLONG is what littlefs says of a new file when it is full
_NO_SPACE = const(28)
_POLICY_WRITE = const(1)  # a purpose of `wear`


def let_go(*names):
    """Let go of modules that are not needed again."""
    with import_lock:  # another thread's import changes the same tables
        for name in names:
            sys.modules.pop("warden." + name, None)
            sys.modules["warden"].__dict__.pop(name, None)


def request(agent, what):
    """Save an agent's policy as it is now (1; 3: even if it acts at once), or forget it (2).

    Return [state, how many quotas there are]. Denied where the file system does not do it.
    """
    let_go("policy_file")
    stored = stored_policy_of(agent)
    try:
        if what == _SAVE and acts_now(stored):
            raise deny("keep:acts_now")
        if what == _SAVE or what == _INSIST:
            save(stored)
        elif what == _FORGET:
            spend(agent)
            for end in (".new", "", ".aside"):  # else the first would be read
                remove(stored.path + end)
            on_written(agent)
            stored.set_state(_NOTHING, "forgotten")
    except OSError as error:
        reason = str(error.errno)
        if error.errno in _FULL:
            reason = "full"
        elif error.errno in _READ_ONLY:
            reason = "read_only"
        elif error.errno in _NO_FILES:
            reason = "no_files"
        raise deny("keep:" + reason)
    return [stored.state, len(agent.policy.quotas)]


def set_quota(policy, name, *values):
    """Set the quota of sessions of that name, for values that the application does not give.

    values: memory, storage, operations, ttl_ms, each may be None; if all are, the quota is
    removed.
    """
    let_go("policy_file")
    quotas = dict(policy.quotas)  # a copy: another thread may read that one
    _put_quota(quotas, name, values)
    policy.quotas = quotas


def acts_now(stored):
    """Tell whether what is in force is critical, or leaves no memory or time, right now."""
    thresholds = stored.agent.policy.thresholds
    for entry in thresholds.all():
        value = thresholds.read(entry.metric)
        if entry.action and None not in (value, entry.critical):
            if value * entry.sign >= entry.critical * entry.sign:
                return True
    return stored.leaves_nothing()


def spend(agent):
    """Count a write to flash; Denied where there were too many."""
    wear.join(agent.storage)
    s = agent.clock.s
    if not wear.spend(_POLICY_WRITE, s):
        raise deny("keep:worn", None, (wear.deadline_s - s) * 1000)


def on_written(agent):
    """Have the count survive a reset, where there is a black box."""
    crashes = getattr(agent.board, "crashes", None)
    if crashes is not None:
        crashes.commit()


def save(stored):
    """Write the file, unless it has this content already, for flash wears."""
    agent = stored.agent
    data = encode(agent)
    if read(stored.path) != data:
        spend(agent)
        new = stored.path + ".new"
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
        os.rename(new, stored.path)
        remove(stored.path + ".aside")
        on_written(agent)
    stored.set_state(_IN_FORCE, "kept")


def encode(agent):
    """Return the policy that is in force, as the bytes of the file."""
    policy = agent.policy
    governor = agent.governor
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


def load(agent, is_aside=False):
    """Put the stored policy in force, instead of what `start()` was given.

    One that is broken makes an event, and changes nothing; one under which three boots ended
    early, or two by a threshold's reset, is set aside. Never raises for what it reads. is_aside:
    there is only one that was set aside, which a host is told.
    """
    let_go("policy_file", "values")
    stored = stored_policy_of(agent)
    if is_aside:
        stored.state = _SET_ASIDE
        return
    policy = agent.policy
    crashes = agent.board.crashes
    is_safe = crashes is not None and crashes.is_safe  # the application does not run
    if is_safe or policy.early_resets >= _MAX_EARLY:
        policy.early_resets = 0
        stored.set_aside()
        return
    for path in (stored.path, stored.path + ".new"):
        try:
            data = read(path)
            if data is not None:
                apply(agent, data)
                stored.set_state(_IN_FORCE, "in force")
                return
        except Exception:  # whatever makes it useless, the board starts
            if path == stored.path:  # an unfinished new one counts as none
                stored.set_state(_BROKEN, "broken")


def apply(agent, data):
    """Check the content of a file, then put it in force; raise if any of it is invalid."""
    end = len(data) - 2
    if data[0] != _VERSION or crc16(data, 0, len(data)):
        raise ValueError
    reader = Reader(data, 1, end)
    interval_ms, budget_permille, limits, rows, stored_quotas = read_value(reader)
    if reader.at != end or len(limits) != 4 or None in limits or budget_permille is None:
        raise ValueError
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
        agent.start_monitoring(interval_ms or agent.governor.wanted_interval_ms, budget_permille)
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
