"""What `warden.exceptions()` and the like return; loaded when one is called, and then let go."""

from micropython import const

from warden.crashes import Crashes
from warden.runner import Runner
from warden.sensors.threads import import_lock

_RESTART_KEYS = (
    "cause flags count boot uptime_s who live_bytes largest_free_block_bytes loop_lag_worst_ms "
    "level traceback"
)
_MAX_EXCEPTIONS = const(5)  # rows of them; those of resets follow
_INFERRED = const(1)  # flags
_EXPECTED = const(2)
# As in ids: EXCEPTION_KINDS.
_KINDS = const(("task", "thread", "callback", "application", "hang"))


def installed():
    """Return the Crashes of this board; what joins it with an agent is loaded for that."""
    crashes = Crashes.current
    runner = Runner.current
    if crashes is None or (runner is not None and runner.agent is not crashes.agent):
        with import_lock:
            from warden.crash_setup import install
        crashes = install()
    return crashes


def safe_mode():
    """Tell whether this boot is a safe one, in which the application does not run (yet)."""
    return installed().is_safe


def decoded(data):
    """Return bytes as text; with ? for what is not ASCII if they were cut inside a character."""
    try:
        return data.decode()
    except ValueError:
        return bytes([byte if byte < 0x80 else 0x3F for byte in data]).decode()


def exceptions():
    """Return what is kept as dicts, in the order in which they came last; see docs/board.md."""
    found = []
    rows = [row for row in installed().rows[:_MAX_EXCEPTIONS] if row]
    for _, kind, name, count, uptime_s, text in sorted(rows, key=lambda row: row[0]):
        found.append(
            {
                "kind": _KINDS[kind],
                "name": name,
                "count": count,
                "uptime_s": uptime_s,
                "traceback": decoded(text),
            }
        )
    return found


def resets():
    """Return the last ten resets as dicts, the newest last; see docs/board.md."""
    found = []
    for entry in installed().rows[_MAX_EXCEPTIONS:]:
        if entry is None:
            break
        reset = dict(zip(_RESTART_KEYS.split(), entry))
        flags = reset.pop("flags")
        reset["inferred"] = bool(flags & _INFERRED)
        reset["expected"] = bool(flags & _EXPECTED)
        if reset["traceback"] is not None:
            reset["traceback"] = decoded(reset["traceback"])
        found.append(reset)
    return found
