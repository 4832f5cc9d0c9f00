"""Stands for `_thread` on ports without threads: the lock, and the one thread's number."""


def get_ident():
    """Return the number of the only thread."""
    return 0


def allocate_lock():
    """Return a new lock."""
    return Lock()


class Lock:
    """A lock that only an interrupt's callback can find occupied.

    The callback runs inside the code that acquired it, so waiting would never end: RuntimeError.
    """

    def __init__(self):
        self.occupied = False

    def acquire(self, wait=1):
        """Acquire it; return whether it was free."""
        if self.occupied:
            if wait:
                raise RuntimeError("an interrupt's callback must not wait for a lock")
            return False
        self.occupied = True
        return True

    def release(self):
        """Release it."""
        self.occupied = False

    def locked(self):
        """Tell whether it is occupied."""
        return self.occupied

    __enter__ = acquire

    def __exit__(self, kind, error, trace):
        self.occupied = False
