"""What an application need not say of a lease or an operation: as its own functions have it."""

NORMAL = 1


def new_lease(
    leases, kind, amount, owner="", priority=NORMAL, ttl_ms=60_000, session=None, *rest, **named
):
    """Grant a lease, or raise Denied, as `Leases.allocate` does."""
    return leases.allocate(kind, amount, owner, priority, ttl_ms, session, *rest, **named)


def new_operation(
    operations, name, priority=NORMAL, timeout_ms=None, memory=None, wait_ms=0, session=None
):
    """Return an operation that has not begun, as `Operations.new` does."""
    return operations.new(name, priority, timeout_ms, memory, wait_ms, session)
