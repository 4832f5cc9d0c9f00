"""warden: the agent on the board. It measures, keeps, tells, decides, and needs nobody for it."""

from .api import (
    allocate,
    allocations,
    begin,
    can_execute,
    cost,
    counted,
    guarded,
    on,
    on_trim,
    operation,
    operations,
    poll,
    session,
    set_limits,
    spawn,
    start,
    start_monitoring,
    status,
    stop,
    stop_monitoring,
    thread,
    threshold,
    thresholds,
    trends,
    use_wlan,
)
from .errors import Denied, Preempted, Stopped, TimedOut

MEMORY, STORAGE, CPU_TIME, NETWORK_BANDWIDTH = range(4)
LOW, NORMAL, HIGH, CRITICAL = range(4)
TELL, PROTECT, RESET = range(3)
LEARNED = -1


def __getattr__(name):
    """Load the links over TCP when asked for: a board without sockets can still import warden."""
    if name == "TcpServer" or name == "TcpClient":
        # Not `from . import`: that would ask this function for the module.
        from .link_tcp import TcpClient, TcpServer

        return TcpServer if name == "TcpServer" else TcpClient
    raise AttributeError(name)
