"""The one agent of this board, for all public functions."""

from warden.runner import Runner


def get_runner():
    """Return the Runner of the agent; RuntimeError before `start()`."""
    if Runner.current is None:
        raise RuntimeError("warden.start() first")
    return Runner.current


def running_agent():
    """Return the agent, after it has done what is overdue."""
    runner = get_runner()
    runner.revive()
    return runner.agent


def running_policy():
    """Return the agent's Policy, after the agent has done what is overdue."""
    runner = Runner.current
    if runner is None:
        get_runner()
    runner.revive()
    policy = runner.agent.policy
    if policy is None:
        raise RuntimeError("warden.start(protect=False) only watches")
    return policy
