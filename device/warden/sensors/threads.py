"""Counts threads, which `_thread` does not, and makes locks, on ports without threads too.

The count stands in for `_thread` in `sys.modules`. It must be installed before the application
imports that, for `from _thread import start_new_thread` keeps the original.
"""

import sys

from micropython import const

try:
    from _thread import allocate_lock, get_ident
except ImportError:
    from warden.sensors.lock import allocate_lock, get_ident  # others have it from here


_THREAD = const(1)  # of ids.EXCEPTION_KINDS
locks = []  # that somebody may wait for


def new_lock(wait=True, allocate=allocate_lock):
    """Return a new lock, which `with` takes.

    wait: somebody may wait for it, so that locked() checks it.
    """
    lock = allocate()
    if wait:
        locks.append(lock)
    return lock


class ImportLock:
    """The lock to load a module late with: MicroPython has none of its own.

    Where there was no memory for a module, MicroPython leaves its name in `sys.modules` with
    nothing behind it (py/objmodule.c), and the next import of it would crash the board: the name is
    removed.
    """

    thread = None  # the one that has it, `locks[0]`: a callback inside that must not wait for it

    def __enter__(self):
        thread = get_ident()  # of which a port may have to allocate the number: not with the lock
        if self.thread == thread:
            raise RuntimeError("callback")
        locks[0].acquire()
        self.thread = thread

    def __exit__(self, kind, error, trace):
        try:
            for name in sys.modules:
                if sys.modules.get(name) is None:
                    sys.modules.pop(name, None)
                    break
        finally:  # Ctrl-C may come, too
            self.thread = None
            locks[0].release()


new_lock()
import_lock = ImportLock()
del ImportLock, allocate_lock  # one name more, and the package's map would grow: 0.3 KB


class Threads:
    """`active`: threads that run now, the main one included; 1 where the port has none.

    early: the application imported `_thread` first, so that not all are seen. Made by
    `warden.setup.count_threads`, which lists what else it has.
    """

    def locked(self):
        """Tell whether some lock of the agent is locked, by whichever thread.

        An interrupt's callback, which runs inside what the main thread does, must not wait for it.
        """
        for lock in locks:
            if lock.locked():
                return True
        return False

    def start_new_thread(self, function, args, kwargs={}, name=None):  # noqa: B006, as it is
        """Start a thread as `_thread` does; it is counted. name: for a report of what ends it."""
        # Else it would fail in the new thread.
        if not isinstance(args, (tuple, list)) or not isinstance(kwargs, dict):
            raise TypeError("args must be a tuple, kwargs a dict")
        self.count(1)
        try:
            return self.start(self.run, (function, args, kwargs, name))
        except BaseException:
            self.count(-1)
            raise

    def run(self, function, args, kwargs, name):
        """Call the function, in the new thread."""
        try:
            function(*args, **kwargs)
        except Exception as error:
            if self.report is not None:
                self.report(error, _THREAD, name)
            raise
        finally:
            self.count(-1)

    def count(self, value):
        """Count one more, or one less."""
        with self.lock:
            self.active += value
