"""Counts threads, which `_thread` does not: by standing in for it in `sys.modules`.

Must be installed before the application imports `_thread`, for `from _thread import
start_new_thread` keeps the original.
"""

import sys


class Counting:
    """Stands for a module: hands on what it has, save what is given to replace it."""

    def __init__(self, module, **replaced):
        self._module = module
        for name, value in replaced.items():
            setattr(self, name, value)

    def __getattr__(self, name):
        return getattr(self._module, name)


class Threads:
    """`active`: threads that run now, the main one included; 1 where the port has none."""

    def __init__(self):
        self.active = 1
        self.early = "_thread" in sys.modules
        self.available = False

    def install(self):
        """Stand in for `_thread`; return whether the port has threads."""
        try:
            import _thread
        except ImportError:
            return False
        self.available = True
        if isinstance(_thread, Counting):
            return True
        lock = _thread.allocate_lock()
        start = _thread.start_new_thread

        def count(step):
            lock.acquire()
            self.active += step
            lock.release()

        def run(function, args, kwargs):
            try:
                function(*args, **kwargs)
            finally:
                count(-1)

        def start_new_thread(function, args, kwargs=None):
            count(1)
            try:
                return start(run, (function, args, kwargs or {}))
            except BaseException:
                count(-1)
                raise

        sys.modules["_thread"] = Counting(_thread, start_new_thread=start_new_thread)
        return True

    def lock(self):
        """Return a new lock, or None where the port has no threads."""
        return sys.modules["_thread"].allocate_lock() if self.available else None
