"""Finds what is public and not loaded yet, by its name."""

from warden.runner import Runner
from warden.running import running_policy
from warden.sensors.threads import import_lock


def find_public(name):
    """Return what has this public name here; AttributeError if nothing has.

    RuntimeError for what decides, while an agent only watches.
    """
    names = (
        "TcpClient", "TcpServer", "counted", "guarded", "scan_storage", "sleeping", "stored_key",
        "trends", "use_wlan",
    )  # fmt: skip
    if name in names:
        with import_lock:
            from warden.extras import find_extra
        return find_extra(name)
    names = ("crashes", "exceptions", "resets", "run", "safe_mode", "checkin", "watchdog")
    if name in names:
        return find_once(name)
    names = ("file_budget",)
    if name in names:
        with import_lock:
            from warden.budgets import file_budget
        return file_budget
    names = ("MqttLink",)
    if name in names:
        with import_lock:
            from warden.mqtt_setup import MqttLink
        return MqttLink
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


def find_once(name):
    """Return what is called once or seldom: it is loaded for as long as the caller has it."""
    with import_lock:
        from warden.crash_setup import let_go, set_up

        if name == "run":
            from warden.application import run

            found = run
        elif name == "crashes":  # of `start()`: has them joined with the new agent
            found = set_up
        elif name == "checkin" or name == "watchdog":
            from warden.watchdog_setup import checkin, watchdog

            found = checkin if name == "checkin" else watchdog
            let_go("watchdog_setup")
        else:
            from warden.crash_report import exceptions, resets, safe_mode

            found = {"exceptions": exceptions, "resets": resets, "safe_mode": safe_mode}[name]
            let_go("last_boot")
        let_go("public")
    return found
