"""A file that cannot grow past its storage lease; loaded when a lease opens its first one."""

import io
import os

from micropython import const

_ENOSPC = const(28)  # not in MicroPython's errno
_EDQUOT = const(122)  # likewise


class MeteredFile(io.IOBase):
    """Works as the file it opens, but write() raises OSError(ENOSPC) past the lease.

    What is written counts, also over what was there: a lease is for so many bytes written.
    ValueError for a path that is not on the lease's mount. budgets: by path, what a file may be
    written a day, see `warden.budgets`; None where none has one.
    """

    budgets = None

    def __init__(self, lease, path, mode):
        if not isinstance(path, str):
            raise TypeError("path must be a str")
        full = path if path[:1] == "/" else os.getcwd().rstrip("/") + "/" + path
        if ".." in full.split("/") or not (full + "/").startswith(lease.mount.rstrip("/") + "/"):
            raise ValueError("not on the lease's mount")
        self._lease = lease
        self._budget = None if self.budgets is None else self.budgets.get(full)
        self._file = open(path, mode)  # noqa: SIM115, it is closed with this one

    def write(self, data):
        """Write all of data or nothing; return the count."""
        lease = self._lease
        view = memoryview(data.encode() if isinstance(data, str) else data)
        size = len(view) * len(bytes(view[:1]))  # items of an array may have several bytes each
        if not lease.active or lease.used + size > lease.amount:
            raise OSError(_ENOSPC)
        if self._budget is not None and not self._budget.spend(size):
            raise OSError(_EDQUOT)
        count = self._file.write(data)
        lease.used += size
        return count

    def close(self):
        """Close the file; the lease goes on."""
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __iter__(self):
        return iter(self._file)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        return False
