"""The public functions, over the one agent of this board."""

from . import hal, report
from .agent import Agent
from .run import Runner

_runner = None


def start(interval_ms=1000, link=None):
    """Start the agent, once; a second call changes nothing.

    interval_ms: between samples, 20 to 600 000. link: None for stdin and stdout (UART1 on
    mps2-an385), False for no link, or a link: `TcpServer`, `TcpClient`, or any stream that
    `select.poll` knows, such as a `machine.UART`. Import `asyncio` first if the application uses
    it; then the agent runs as a task. Otherwise a `machine.Timer` runs it where the port has one;
    where not, call `poll()` in the application's loop.
    """
    global _runner
    if _runner is None:
        board = hal.detect()
        runner = Runner(Agent(board, interval_ms, _link_from(link, board)))
        runner.start()
        _runner = runner


def stop():
    """Stop the agent and close its link; harmless when it does not run."""
    global _runner
    if _runner is not None:
        _runner.stop()
        _runner.agent.close()
        _runner = None


def poll():
    """Do what is due, once; return the milliseconds until there is more."""
    return _agent_runner().poll()


def status():
    """Return the newest figures as a dict, see `warden.report.status`."""
    return report.status(_agent_runner().agent)


def trends(period_ms):
    """Return the trends of the last period_ms, see `warden.report.trends`."""
    return report.trends(_agent_runner().agent, period_ms)


def start_monitoring(interval_ms):
    """Sample every interval_ms (20 to 600 000) from now on."""
    _agent_runner().agent.start_monitoring(interval_ms)


def stop_monitoring():
    """Take no more samples until `start_monitoring`; the link goes on."""
    _agent_runner().agent.stop_monitoring()


def counted(sock):
    """Return `sock`, wrapped so that its bytes are counted in the status."""
    return _agent_runner().agent.network.count(sock)


def use_wlan(wlan):
    """Have this `network.WLAN` watched; one made after `start()` is found by itself."""
    _agent_runner().agent.network.wlan = wlan


def _agent_runner():
    if _runner is None:
        raise RuntimeError("warden.start() first")
    return _runner


def _link_from(link, board):
    if link is False:
        return None
    if link is None:
        return board.default_link()
    if hasattr(link, "waitable"):
        return link
    from .link_stream import StreamLink

    return StreamLink(link)
