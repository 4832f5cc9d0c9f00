"""Finds what is public and not loaded yet, by its name; let go at once."""

import sys

from micropython import const

from warden.runner import Runner
from warden.running import running_policy
from warden.sensors.threads import import_lock

# Modules, with what is public of each; the names are no names here, which would stay.
_PLACES = const(
    (
        "extras TcpServer scan_storage stored_key use_wlan",
        "mqtt_setup MqttLink",
        "crash_report exceptions resets safe_mode",
        "watchdog_setup checkin watchdog",
        "budgets file_budget",
        "counted_socket counted",
        "guard guarded",
        "sleep sleeping",
        "trend_report trends",
    )
)
_LET_GO = const(4)  # of them are, after each call: the first ones


def find_public(name):
    """Return what has this public name here; AttributeError if nothing has.

    RuntimeError for what decides, while an agent only watches.
    """
    names = sys.modules["warden"].__dict__
    with import_lock:
        drop("public")
        if name == "run":
            from warden.application import run

            names[name] = run  # the heap may be full at the next call
            return run
        for place in range(len(_PLACES)):
            module, *public = _PLACES[place].split()
            if name in public:
                found = getattr(__import__("warden." + module, None, None, public), name)
                if place < _LET_GO:
                    drop(module)
                else:  # next time it is found without this; in place of the module, for its table
                    names.pop(module, None)  # of names must not grow
                    names[name] = found
                return found
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
