"""The one agent of this board, for all public functions."""

from warden.runner import Runner


def running():
    """Return what runs the agent; RuntimeError where nothing was started."""
    if Runner.current is None:
        raise RuntimeError("warden.start() first")
    return Runner.current


def running_agent():
    """Return the agent, after it has done what is overdue."""
    runner = running()
    runner.revive()
    return runner.agent


def running_policy():
    """Return what decides, after the agent has done what is overdue."""
    runner = Runner.current
    if runner is None:
        running()
    runner.revive()
    policy = runner.agent.policy
    if policy is None:
        raise RuntimeError("warden.start(protect=False) only watches")
    return policy
