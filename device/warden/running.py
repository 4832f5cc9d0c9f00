"""The one agent of this board, for all public functions."""

_runner = None  # it runs the agent; None before start() and after stop()


def set_runner(runner):
    """Have this one from now on, None: none; return it."""
    global _runner
    _runner = runner
    return runner


def current_runner():
    """Return what runs the agent, None where nothing was started."""
    return _runner


def running():
    """Return what runs the agent; RuntimeError where nothing was started."""
    if _runner is None:
        raise RuntimeError("warden.start() first")
    return _runner


def running_agent():
    """Return the agent, after it has done what is overdue."""
    runner = running()
    runner.revive()
    return runner.agent


def running_policy():
    """Return what decides, after the agent has done what is overdue."""
    if _runner is None:
        running()
    _runner.revive()
    policy = _runner.agent.policy
    if policy is None:
        raise RuntimeError("warden.start(protect=False) only watches")
    return policy
