"""warden: the agent on the board. It measures, keeps, tells, decides, and needs nobody for it."""

from warden.api import allocate, begin, can_execute, operation, poll, start, status, stop
from warden.errors import Denied, Preempted, Stopped, TimedOut

MEMORY, STORAGE, CPU_TIME, NETWORK_BANDWIDTH = range(4)
LOW, NORMAL, HIGH, CRITICAL = range(4)
LEARNED = -1


def __getattr__(name):
    """Load what most applications do without when it is asked for.

    From `seldom`: TELL, PROTECT, RESET, allocations, cost, counted, guarded, on, on_trim,
    operations, session, set_limits, spawn, start_monitoring, stop_monitoring, thread, threshold,
    thresholds, trends, use_wlan. From `link_tcp`, for a board without sockets can still import
    warden: TcpServer, TcpClient.
    """
    # Not `from . import`: that would ask this function for the module.
    if name == "TcpServer" or name == "TcpClient":
        import warden.link_tcp as part
    elif name[0] != "_":
        import warden.seldom as part
    else:
        raise AttributeError(name)
    return getattr(part, name)
