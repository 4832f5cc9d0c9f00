"""Lets one thread at a time do something; another that comes meanwhile goes on without it."""

from warden.sensors.threads import new_lock


class Gate:
    """`enter()` calls a function unless another thread is in it."""

    def __init__(self, function):
        lock = new_lock(False)
        self.function = function
        self.acquire = lock.acquire
        self.releases = (bool, lock.release)  # by `acquired`; bool() does nothing

    def enter(self):
        """Call the function; return False, with nothing called, if it is being called already."""
        acquired = self.acquire(0)
        try:
            if acquired:
                self.function()
        finally:  # no jump comes before the release: at one, Ctrl-C may come
            self.releases[acquired]()
        return acquired
