"""Lets one thread at a time do something; another that comes meanwhile goes on without it."""

from warden.sensors.threads import get_ident, new_lock


class Gate:
    """`enter()` calls a function unless another thread is in it."""

    def __init__(self, function):
        lock = new_lock(False)
        self.function = function
        self.acquire = lock.acquire
        self.releases = (bool, lock.release)  # by `acquired`; bool() does nothing
        self.thread = None  # the one that is in the function, or was last
        self.running = False  # whether one is in it

    def enter(self):
        """Call the function; return False, with nothing called, if it is being called already."""
        acquired = self.acquire(0)
        try:
            if acquired:
                self.thread = get_ident()
                self.running = True
                self.function()
                self.running = False
        finally:  # no jump comes before the release: at one, Ctrl-C may come
            self.releases[acquired]()
        return acquired

    def release(self):
        """Release the lock if this thread holds it, outside of the function.

        So Ctrl-C may leave it on the stock unix port, which raises it in the midst of C code, too.
        """
        if not self.running and self.thread == get_ident():
            self.thread = None
            self.releases[1]()
