"""A lease's handle for the application: once collected as garbage, its lease ends.

Loaded where the port has weakref.
"""

from weakref import finalize


def _drop(lease):
    # No more than to note it: this runs while garbage is collected, perhaps under a lock.
    if lease.active:
        lease.dropped = True
        clock = lease.table.clock
        clock.deadline_s = 0
        clock.poll_now = True


class LeaseHandle:
    """A handle with the lease's attributes and methods."""

    def __init__(self, lease):
        self.lease = lease
        finalize(self, _drop, lease)

    def __getattr__(self, name):
        return getattr(self.lease, name)

    def __eq__(self, other):
        return self.lease is getattr(other, "lease", other)

    def __hash__(self):
        return self.lease.id

    def open(self, path, mode="r"):
        """Open a file on the lease's mount; the file holds the lease, too."""
        file = self.lease.open(path, mode)
        file.lease_handle = self
        return file

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.lease.release()
        return False
