"""What an application holds of a lease: dropped, it gives it back. Loaded where `weakref` exists."""

from weakref import finalize


def _drop(lease):
    lease.table.drop(lease)  # no more: this runs while garbage is collected, perhaps under a lock


class LeaseHandle:
    """A handle with the lease's attributes and methods."""

    def __init__(self, lease):
        self._lease = lease
        finalize(self, _drop, lease)

    def __getattr__(self, name):
        return getattr(self._lease, name)

    def __eq__(self, other):
        return self._lease is getattr(other, "_lease", other)

    def __hash__(self):
        return self._lease.id

    def open(self, path, mode="r"):
        """Open a file on the lease's mount; the file holds the lease, too."""
        file = self._lease.open(path, mode)
        file.holder = self
        return file

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self._lease.release()
        return False
