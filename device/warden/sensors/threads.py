"""Counts threads, which `_thread` does not, and makes locks, on ports without threads too.

The count stands in for `_thread` in `sys.modules`. It must be installed before the application
imports that, for `from _thread import start_new_thread` keeps the original.
"""

import sys

try:
    import _thread
except ImportError:
    _thread = None


_locks = []  # that somebody may wait for


def new_lock(listed=True):
    """Return a new lock, which `with` takes.

    listed: somebody may wait for it, so that any_lock_held() looks at it.
    """
    lock = Lock() if _thread is None else _thread.allocate_lock()
    if listed:
        _locks.append(lock)
    return lock


def _only_thread():
    """Stand for `_thread.get_ident` on ports without threads."""
    return 0


class Lock:
    """A lock for ports without threads, where only an interrupt's callback can find it taken.

    The callback runs inside the code that took it, so waiting would never end: RuntimeError.
    """

    def __init__(self):
        self._taken = False

    def acquire(self, wait=1):
        """Take it; return whether it was free."""
        if self._taken:
            if wait:
                raise RuntimeError("an interrupt's callback must not wait for a lock")
            return False
        self._taken = True
        return True

    def release(self):
        """Give it back."""
        self._taken = False

    def locked(self):
        """Tell whether it is taken."""
        return self._taken

    def __enter__(self):
        self.acquire()

    def __exit__(self, kind, error, trace):
        self._taken = False


import_lock = new_lock()  # MicroPython has none: see `agent`


class StandIn:
    """Stands for a module in `sys.modules`: hands on what that has, but for its own attributes."""

    def __init__(self, module, owner):
        self._module = module
        self.warden_owner = owner  # the one of this board, for all agents to come

    def __getattr__(self, name):
        return getattr(self._module, name)


def install_threads():
    """Return the one counter of this board's threads, standing in for `_thread` from now on."""
    del _locks[1:]  # of an agent that was stopped
    return getattr(sys.modules.get("_thread"), "warden_owner", None) or Threads()


class Threads:
    """`active`: threads that run now, the main one included; 1 where the port has none.

    early: the application imported `_thread` first, so that not all are seen. ident(): a number
    that tells the calling thread from the others.
    """

    def __init__(self):
        self.active = 1
        self.early = "_thread" in sys.modules
        self.ident = _only_thread
        if _thread is not None:
            self.ident = _thread.get_ident
            self._lock = _thread.allocate_lock()
            module = sys.modules.get("_thread", _thread)
            self._start = module.start_new_thread
            stand_in = StandIn(module, self)
            stand_in.start_new_thread = self.start_new_thread
            sys.modules["_thread"] = stand_in

    def read(self, sample):
        """Put the count into the sample, None if not all are seen; that never changes: False."""
        sample.threads = None if self.early else self.active
        return False

    def any_lock_held(self):
        """Tell whether some lock of the agent is held, by whomever.

        An interrupt's callback, which runs inside what the main thread does, must not wait for it.
        """
        for lock in _locks:
            if lock.locked():
                return True
        return False

    def start_new_thread(self, function, args, kwargs=None):
        """Start a thread as `_thread` does; it is counted."""
        if not isinstance(args, (tuple, list)):  # else it would fail in the new thread
            raise TypeError("args must be a tuple")
        self._count(1)
        try:
            return self._start(self._run, (function, args, kwargs or {}))
        except BaseException:
            self._count(-1)
            raise

    def _run(self, function, args, kwargs):
        try:
            function(*args, **kwargs)
        finally:
            self._count(-1)

    def _count(self, step):
        with self._lock:
            self.active += step
