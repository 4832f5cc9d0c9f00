"""Lets one thread at a time do something; another that comes meanwhile goes on without it."""

from warden.sensors.threads import new_lock


class Gate:
    """`enter()` calls a function unless another thread is in it."""

    def __init__(self, function):
        lock = new_lock(False)
        self.function = function
        self.acquire = lock.acquire
        self.releases = (bool, lock.release)  # by `acquired`; bool() does nothing
        self.running = False  # whether a thread is in it
        self.again = False  # release() was called, and nobody was in it since

    def enter(self):
        """Call the function; return False, with nothing called, if it is being called already."""
        acquired = self.acquire(0)
        try:
            if acquired:
                self.running = True
                self.again = False
                self.function()
                self.running = False
        finally:  # no jump comes before the release: at one, Ctrl-C may come
            self.releases[acquired]()
        return acquired

    def release(self):
        """Release the lock at the second call since somebody was in the function; return whether.

        So Ctrl-C may leave it on the stock unix port, which raises it in the midst of C code, too.
        Whose it is, is not asked: the number of a thread may take heap.
        """
        again = self.again and not self.running
        self.again = not again  # first: another thread may call this, too
        if again:
            self.acquire(0)  # it may have been released since
            self.releases[1]()
        return again
