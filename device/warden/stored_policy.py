"""The stored policy, from when it is in force, is set aside or found broken; see `policy_file`.

It has a brake: one that has refused or ended everything for ten minutes, or under which boots
ended early, is set aside: renamed, and not in force any more.
"""

import os

from micropython import const

from warden.policy.thresholds import DEFAULT_THRESHOLD
from warden.wear import wear

_MAX_FILE_BYTES = const(640)  # eight thresholds and eight quotas with the longest names take 590
_NOTHING = const(0)  # states: ids.KEPT
_IN_FORCE = const(1)
_SET_ASIDE = const(3)
_NORMAL = const(1)  # a priority
_REFUSED_MS = const(600_000)
_TURN_MS = const(250)  # between two turns of the agent's task: what has less time ends at once
_QUOTA_TTL = const(3)  # a place in a quota
_NO_FILES = const((2, 19))  # ENOENT; ENODEV: nothing is mounted
_POLICY_WRITE = const(1)  # a purpose of `wear`


def stored_policy_of(agent):
    """Return an agent's StoredPolicy, made at the first call."""
    policy = agent.policy
    if policy.stored_policy is None:
        policy.stored_policy = StoredPolicy(agent)
    return policy.stored_policy


class StoredPolicy:
    """`state` says what became of it."""

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
            remove(aside)
            if read(self.path) is None:
                os.rename(self.path + ".new", aside)
            else:
                os.rename(self.path, aside)
                remove(self.path + ".new")
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

    def set_state(self, state, detail):
        """Change the state, and post an event."""
        self.state = state
        self.ignored = []
        self.agent.policy.events.post("policy", None, detail)


def read(path):
    """Return the content of a file, None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_FILE_BYTES + 1)
    except OSError:
        return None


def remove(path):
    """Remove a file if it is there; raise OSError where that cannot be."""
    try:
        os.remove(path)
    except OSError as error:
        if error.errno not in _NO_FILES:
            raise
