"""warden: the agent on the board. It measures, keeps, tells and needs nobody for it."""

from .api import (
    counted,
    poll,
    start,
    start_monitoring,
    status,
    stop,
    stop_monitoring,
    trends,
    use_wlan,
)


def __getattr__(name):
    """Load the links over TCP when asked for: a board without sockets can still import warden."""
    if name in ("TcpServer", "TcpClient"):
        from . import link_tcp

        return getattr(link_tcp, name)
    raise AttributeError(name)
