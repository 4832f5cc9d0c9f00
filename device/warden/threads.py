"""Counts threads, which `_thread` does not: by standing in for it in `sys.modules`.

Must be installed before the application imports `_thread`, for `from _thread import
start_new_thread` keeps the original.
"""

import sys
from array import array

from micropython import const

_UNKNOWN = const(-0x40000000)


def install():
    """Return the one counter of this board's threads, standing in for `_thread` from now on."""
    return getattr(sys.modules.get("_thread"), "warden_owner", None) or Threads()


class Flag:
    """A lock for a port without threads: it only keeps a second call out of the first."""

    def __init__(self):
        self._taken = False

    def acquire(self, _wait=1):
        """Take it; return whether it was free."""
        if self._taken:
            return False
        self._taken = True
        return True

    def release(self):
        """Give it back."""
        self._taken = False


class Locks:
    """Makes an agent's locks. `lock()` makes one to wait for, with acquire(1).

    An interrupt's scheduled function runs inside whatever the main thread does, which may hold one
    of them: it must look at `held()` first, and come again later, or it would wait for itself.

    On a port without threads this is the one lock to wait for: it keeps nobody out, but `held()`
    knows of it. What it does costs as little as a call can: that of a list, which never holds more
    than its four first places.
    """

    def __init__(self, available):
        self._new = sys.modules["_thread"].allocate_lock if available else None
        self._locks = []
        self._held = []
        self.acquire = self._held.append
        self.release = self._held.pop

    def lock(self):
        """Return a lock to wait for: a new one where there are threads."""
        if self._new is None:
            return self
        lock = self._new()
        self._locks.append(lock)
        return lock

    def gate(self):
        """Return a new lock that is only tried, with acquire(0), also by a call inside a call."""
        return Flag() if self._new is None else self._new()

    def held(self):
        """Tell whether any lock to wait for is held, by whomever."""
        if self._held:
            return True
        for lock in self._locks:
            if lock.locked():
                return True
        return False


class Threads:
    """`active`: threads that run now, the main one included; 1 where the port has none.

    words: array("i") of what a sample tells: that, or _UNKNOWN.
    """

    def __init__(self):
        self.active = 1
        self.early = "_thread" in sys.modules  # what the application started is not all seen
        self.words = array("i", [_UNKNOWN if self.early else 1])
        self.available = False
        try:
            import _thread
        except ImportError:
            return
        self.available = True
        self._stand_in(_thread)

    def _stand_in(self, module):
        from warden.stand_in import StandIn

        lock = module.allocate_lock()
        start = module.start_new_thread

        def count(step):
            lock.acquire()
            self.active += step
            if not self.early:
                self.words[0] = self.active
            lock.release()

        def run(function, args, kwargs):
            try:
                function(*args, **kwargs)
            finally:
                count(-1)

        def start_new_thread(function, args, kwargs=None):
            if not isinstance(args, (tuple, list)):  # else it would fail in the new thread
                raise TypeError("args must be a tuple")
            count(1)
            try:
                return start(run, (function, args, kwargs or {}))
            except BaseException:
                count(-1)
                raise

        sys.modules["_thread"] = StandIn(module, self, start_new_thread=start_new_thread)

    def ident(self):
        """Return a number that tells the calling thread from the others."""
        return sys.modules["_thread"].get_ident() if self.available else 0

    def start(self, function):
        """Start function() in a new thread; NotImplementedError where the port has none."""
        if not self.available:
            raise NotImplementedError("this port has no threads")
        return sys.modules["_thread"].start_new_thread(function, ())
