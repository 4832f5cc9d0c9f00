"""The limits that may be set, at the start and later: of the policy, and of the agent itself."""

from micropython import const

# Places in the sample's words: see `plain.renew`, which keeps the agent to its budget.
_BUDGET = const(31)  # permille
_WANTED = const(32)  # ms, what was asked for
_INTERVAL = const(33)  # ms, what is kept; 0: no samples


def check_limits(max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms):
    """Return the limits; raise ValueError or TypeError for one that makes no sense."""
    if not 1 <= max_operations <= 8:
        raise ValueError("max_operations must be 1 to 8")
    if operation_timeout_ms < 1:
        raise ValueError("operation_timeout_ms must be positive")
    if not 0 <= memory_reserve_permille <= 900:
        raise ValueError("memory_reserve_permille must be 0 to 900")
    if not 0 <= overrun_ms <= 600_000:
        raise ValueError("overrun_ms must be 0 to 600000")
    return max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms


def check_budget(permille):
    """Return a budget, 1 to 1000 permille of the core; raise ValueError or TypeError for others."""
    if not isinstance(permille, int) or isinstance(permille, bool):
        raise TypeError("budget_permille must be an int")
    if not 1 <= permille <= 1000:
        raise ValueError("budget_permille must be 1 to 1000")
    return permille


def want(values, interval_ms, budget_permille=None):
    """Have samples taken at this interval, 0 for none, within this budget, None for what it is.

    What a sample costs is known from before.
    """
    if budget_permille is not None:
        values[_BUDGET] = check_budget(budget_permille)
    values[_WANTED] = values[_INTERVAL] = interval_ms
