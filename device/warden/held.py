"""What an application holds of a lease: dropped, it gives it back, where `weakref` exists."""

try:
    from weakref import finalize
except ImportError:  # most ports, where nothing imports this
    finalize = None


def held(lease):
    """Return the lease, in a handle if the port can tell when that is dropped."""
    return lease if finalize is None else Held(lease)


def _drop(lease):
    lease.drop()  # no more: this runs while garbage is collected, perhaps under a lock


class Held:
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
