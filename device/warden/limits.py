"""The limits that may be set, at the start and later."""


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
