"""Stands for `_thread` on ports without threads: the lock, and the one thread's number."""


def get_ident():
    """Return the number of the only thread."""
    return 0


def allocate_lock():
    """Return a new lock."""
    return Lock()


class Lock:
    """A lock where only an interrupt's callback can find it taken.

    The callback runs inside the code that took it, so waiting would never end: RuntimeError.
    """

    def __init__(self):
        self.taken = False

    def acquire(self, wait=1):
        """Take it; return whether it was free."""
        if self.taken:
            if wait:
                raise RuntimeError("an interrupt's callback must not wait for a lock")
            return False
        self.taken = True
        return True

    def release(self):
        """Give it back."""
        self.taken = False

    def locked(self):
        """Tell whether it is taken."""
        return self.taken

    def __enter__(self):
        self.acquire()

    def __exit__(self, kind, error, trace):
        self.taken = False
