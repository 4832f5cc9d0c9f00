"""A port in memory that several hosts connect to, for boards without sockets, too."""

from rig import FakeLink


class FakeLine(FakeLink):
    """Stands in for a connection of a `ServerLink`."""

    right = 2
    connection = True

    def __init__(self, server, address):
        super().__init__()
        self.server = server
        self.address = address
        self.fresh = True
        self.kept = 0  # times that its host kept its place

    def keep_place(self):
        self.kept += 1

    def is_fresh(self):
        return self.fresh

    def drop(self):
        self.connection = None
        if self in self.server.lines:
            self.server.lines.remove(self)


class FakeServer:
    """Stands in for a `ServerLink`: `dial()` is what a host does. session: as there."""

    window = 0
    waitable = None

    def __init__(self, session):
        self.session = session
        self.callers = []
        self.lines = []

    def dial(self, line=None, address=None):
        line = line or FakeLine(self, address or "10.0.0." + str(len(self.lines) + 1))
        self.callers.append(line)
        return line

    def readable(self):
        return bool(self.callers) or any([line.readable() for line in self.lines])

    def has_caller(self):
        return bool(self.callers)

    def accept(self):
        if not self.callers:
            return None
        self.lines.append(self.callers.pop(0))
        return self.lines[-1]

    def close(self):
        pass
