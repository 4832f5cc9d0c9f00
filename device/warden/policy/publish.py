"""Makes what decides public; let go with `warden.setup`."""

import os

from micropython import const

from warden.errors import Denied, Preempted, Stopped, TimedOut  # noqa: F401, public
from warden.policy.decisions import (  # noqa: F401
    allocate,
    allocations,
    begin,
    can_execute,
    on,
    on_trim,
    operation,
    operations,
    session,
    set_limits,
    spawn,
    thread,
    threshold,
    thresholds,
)
from warden.sensors.threads import import_lock

_LEARNED = const(-1)  # as memory
_ASIDE = const(".policy.aside")  # of a policy that is not in force
_PUBLIC = const((
    "Denied", "Stopped", "Preempted", "TimedOut",
    "allocate", "allocations", "begin", "can_execute", "on", "on_trim", "operation", "operations",
    "session", "set_limits", "spawn", "thread", "threshold", "thresholds",
))  # fmt: skip


def public():
    """Return the public functions, exceptions and constants, by name."""
    found = {
        "MEMORY": 0, "STORAGE": 1, "CPU_TIME": 2, "NETWORK_BANDWIDTH": 3,
        "LOW": 0, "NORMAL": 1, "HIGH": 2, "CRITICAL": 3,
        "LEARNED": _LEARNED,
        "TELL": 0, "PROTECT": 1, "RESET": 2,
    }  # fmt: skip
    for name in _PUBLIC:
        found[name] = globals()[name]
    return found


def install(module, agent):
    """Put the public names into the module that applications import; load a stored policy."""
    for name, value in public().items():
        setattr(module, name, value)
    found = find_stored_policy(agent.board)
    if found is not None:
        with import_lock:
            from warden.policy_file import load
        load(agent, found == _ASIDE)


def find_stored_policy(board):
    """Return how the file of a stored policy ends, None where there is none."""
    for end in (".policy", ".policy.new", _ASIDE):
        try:
            os.stat(board.path + end)
            return end
        except (AttributeError, OSError):  # AttributeError: this firmware has no files
            pass
    return None
