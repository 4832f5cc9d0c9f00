"""Finds what is public and not loaded yet, by its name."""

import sys

from micropython import const

from warden.runner import Runner
from warden.running import running_policy
from warden.sensors.threads import import_lock

# Modules, with what is public of each; the names are no names here, which would stay.
_PLACES = const(
    (
        "extras TcpServer counted guarded scan_storage sleeping stored_key trends use_wlan",
        "budgets file_budget",
        "mqtt_setup MqttLink",
        "crash_report exceptions resets safe_mode",
        "watchdog_setup checkin watchdog",
    )
)
_SELDOM = const(2)  # of them are called so seldom that they are let go: the last ones


def find_public(name):
    """Return what has this public name here; AttributeError if nothing has.

    RuntimeError for what decides, while an agent only watches.
    """
    if name == "run":
        with import_lock:
            from warden.application import run

            sys.modules["warden"].run = run  # the heap may be full at the next call
            drop("public")
        return run
    for place in range(len(_PLACES)):
        names = _PLACES[place].split()
        if name in names[1:]:
            with import_lock:
                module = __import__("warden." + names[0], None, None, names)
                if place >= len(_PLACES) - _SELDOM:
                    drop(names[0])
                    drop("public")
            return getattr(module, name)
    deciding = (  # as `warden.policy.publish` has it, which is not loaded: a test compares them
        "Denied Stopped Preempted TimedOut MEMORY STORAGE CPU_TIME NETWORK_BANDWIDTH "
        "LOW NORMAL HIGH CRITICAL LEARNED TELL PROTECT RESET "
        "allocate allocations begin can_execute on on_trim operation operations session set_limits "
        "spawn thread threshold thresholds"
    )
    if name not in deciding.split():
        raise AttributeError(name)
    if Runner.current is not None:  # and only watches, or its `start()` had them public
        running_policy()
    with import_lock:
        from warden.policy.publish import public
    return public()[name]


def drop(name):
    """Let go of a module of the agent that is not needed again: its memory is the application's.

    With `import_lock`: another thread's import changes the same tables.
    """
    sys.modules.pop("warden." + name, None)
    sys.modules["warden"].__dict__.pop(name, None)
