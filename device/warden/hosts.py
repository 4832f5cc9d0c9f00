"""Several hosts at once on one board, each over a connection of its own; loaded for `TcpServer`.

What is sent to all is encoded once; each `Host` has what is still owed to it.
"""

from array import array

from micropython import const

from warden.host_connection import Host
from warden.hosts_message import Message
from warden.sensors.capabilities import update_reasons
from warden_schema.codec import Reader
from warden_schema.frame import Deframer

_DELTA = const(16)
_MAX_REQUEST = const(128)
_MAX_INPUT = const(64)
_MAX_HEARD = const(4096)
_MAX_LOOKS = const(8)  # at rows, of which some are not in use any more,
_MAX_ROWS = const(2)  # that are sent in a poll; then the application runs
_NEXT_MS = const(2)  # until the next ones
_FULL_MS = const(100)  # until the next try on a full connection
_NOTHING_MS = const(60_000)
_HEARD_MS = const(1500)  # a host that lives says so every second
_SILENCE_MS = const(3000)
_DROPPED_FIGURE = const(16)  # a place among a sample's figures


class Hosts:
    """Stands where the `HostSession` does, for a link that has several connections.

    hosts: connections, of which three at most have subscribed. tables: all that they mirror but the
    sample.
    """

    def __init__(self, agent):
        self.agent = agent
        self.clock = agent.clock
        self.hosts = []
        self.host_id = 0  # of one that listened at the last pump()
        self.uplink = Message(self.hosts)
        self.tables = [agent.storage]
        self.requests = None  # loaded at the first one
        self.events = None  # of these each host has a place of its own
        self.sample = agent.sample
        self.is_sample_new = False
        self.is_busy = False  # there is more to send than what goes first
        self.hello_dirty = False
        self.row = 0  # in its table, see find_table
        self.has_event = False
        self.turn = 0  # who was sent a row last
        self.buf = self.reader = self.deframer = None  # while there is a connection

    def subscribed(self):
        """Return the hosts that listen."""
        return [host for host in self.hosts if host.host_id]

    def renew(self):
        """Begin the silence of all hosts anew: none of them could be heard."""
        for host in self.hosts:
            if host.host_id:
                host.renew()

    def all_heard(self):
        """Tell whether each host that listens said something within the last 1.5 s."""
        for host in self.hosts:
            left = self.clock.until_ms(host.deadline_s, host.deadline_ms)
            if host.host_id and left < _SILENCE_MS - _HEARD_MS:
                return False
        return True

    def replace(self, host, host_id):
        """End the connection that a host had before, if any; return whether it had one.

        None where it is of another address: whoever learns a host's id must not end its session.
        """
        for other in self.hosts:
            if other is not host and other.host_id == host_id:
                if other.link.address != host.link.address:
                    return None
                other.host_id = 0
                other.link.drop()
                return True
        return False

    # --- from the hosts -------------------------------------------------------------------------

    def listen(self):
        """Let a host in, and read up to 64 bytes of the one that was heard least of late.

        So one that sends as much as is read keeps no other waiting. First all are read of which
        nothing came for so long that they would be lost: it may have been the board that stood
        still.
        """
        if self.agent.link.has_caller():
            self.let_in()
        first = None
        for host in self.hosts:
            if host.host_id and host.until_lost_ms() <= 0 and host.link.readable():
                host.listen()
        for host in self.hosts:
            if (first is None or host.heard < first.heard) and host.link.readable():
                first = host
        if first is not None:
            first.heard += first.listen()
            if first.heard > _MAX_HEARD:
                for host in self.hosts:
                    host.heard >>= 1
            self.purge()

    def let_in(self):
        """Accept a connection, unless another one is not subscribed, and has a second for it."""
        for host in self.hosts:
            if not host.host_id:
                if host.link.is_fresh():
                    return
                host.link.drop()
        self.purge()
        link = self.agent.link.accept()
        if link is not None:
            self.serve(Host, link)

    def serve(self, kind, link):
        """Serve a connection by a `Host`, or another kind of one, if there is memory for it."""
        try:
            if not self.hosts:
                self.uplink.take_room()
                self.buf = bytearray(_MAX_INPUT)
                self.reader = Reader(self.buf, 0, 0)
                self.deframer = Deframer(_MAX_REQUEST)
                self.sample.last = array("i", self.sample.figures)
                self.sample.deltas_left = 0
            self.hosts.append(kind(self, link))
        except MemoryError:  # the others go on
            link.drop()
            if not self.hosts:
                self.give_room()

    def give_room(self):
        """Give back the memory that only connections need."""
        message = self.uplink
        message.payload = message.views = message.buf = None
        self.buf = self.reader = self.deframer = self.sample.last = None
        self.is_sample_new = False
        self.host_id = 0  # before the next pump(): `warden.sleeping()` sends where one listens

    def purge(self):
        """Forget the connections that have ended."""
        hosts = self.hosts
        at = len(hosts)
        while at:
            at -= 1
            host = hosts[at]
            if host.link.connection is None:
                hosts.pop(at).on_closed()
                if not hosts:
                    self.give_room()

    # --- to the hosts ---------------------------------------------------------------------------

    def on_sample(self, changed):
        """Mark the new sample for sending, and HELLO if a capability has changed.

        A sample that no host was sent in time is counted as dropped.
        """
        if changed and update_reasons(self.agent):
            self.hello_dirty = True
        missed = None
        for host in self.hosts:
            if host.host_id:
                missed = host.sample_dirty and missed is not False
                host.sample_dirty = True
        if missed is not None:
            self.is_sample_new = True
            if missed:
                self.sample.figures[_DROPPED_FIGURE] += 1

    def pump(self, rows):
        """Send what is due, as far as each connection takes it; return the ms until there is more.

        The order is that of a `HostSession`, for each host by itself; a row is encoded once for all
        that are owed it. What one does not take costs the others nothing.
        """
        if self.clock.rows_dirty:
            self.clock.rows_dirty = False  # first: others may be marked while they are searched
            self.spread()
        left = self.send_first()
        if self.is_busy:
            left = self.send_more(left, rows)
        self.uplink.host = None
        return left

    def send_more(self, left, rows):
        """Send the sample, rows and the rest; return the ms until there is more to do."""
        if self.is_sample_new:
            self.send_sample()
        self.send_last_sample()
        if rows:
            self.send_rows()
        for host in self.hosts:
            if host.host_id and not host.send_last():
                if host.can_take:
                    left = _NEXT_MS
                elif left > _FULL_MS:
                    left = _FULL_MS
        if left == _NEXT_MS:
            self.clock.rows_dirty = True
        self.purge()
        return left

    def send_first(self):
        """Send refusals, HELLO and replies to each; return the ms until there is more to do."""
        left = _NOTHING_MS
        self.is_busy = self.is_sample_new
        self.host_id = 0
        for host in self.hosts:
            if self.hello_dirty and host.host_id:
                host.hello_dirty = True
            wait = host.send_first()
            if wait < left:
                left = wait
            self.host_id = self.host_id or host.host_id
        self.hello_dirty = False
        return left

    def spread(self):
        """Owe each host the rows that have changed."""
        first = 0
        for table in self.tables:
            self.spread_table(table.dirty, first)
            first += len(table.dirty)

    def spread_table(self, dirty, first):
        """Owe each host the rows of a table that have changed; first: the place of its first."""
        if any(dirty):
            row = 0
            while row < len(dirty):
                if dirty[row]:
                    dirty[row] = 0  # before it is read
                    self.mark(first + row)
                row += 1

    def mark(self, place):
        """Owe each host a row."""
        for host in self.hosts:
            if host.host_id:
                host.mark(place)

    def send_sample(self):
        """Encode the new sample, and send it to those that have what it counts from."""
        sample = self.sample
        uplink = self.uplink
        base = sample.last_seq
        uplink.seq = uplink.seq + 1 & 0xFFFF
        sample.encode(0, uplink)
        sample.on_sent(0)  # of those that do not take it, each gets a SAMPLE later
        self.is_sample_new = False
        if uplink.payload[1] != _DELTA:
            return  # all get that one
        for host in self.hosts:
            if host.sample_dirty and host.can_take and host.base == base:
                host.send_sample()

    def send_last_sample(self):
        """Send a SAMPLE to those that lack the newest one."""
        is_encoded = False
        for host in self.hosts:
            if host.sample_dirty and host.can_take and host.host_id:
                if not is_encoded:
                    self.sample.put_whole(self.uplink, self.sample.last)
                    is_encoded = True
                host.send_sample()

    def send_rows(self):
        """Send a few rows, to one host after the other and all that are owed the same."""
        looked = sent = 0
        while sent < _MAX_ROWS and looked < _MAX_LOOKS:
            host = self.next_host()
            if host is None:
                return
            sent += self.send_row(host, host.next - 1)
            looked += 1

    def next_host(self):
        """Return the next host that takes frames and is owed a row, which `next` is behind."""
        hosts = self.hosts
        looked = 0
        while looked < len(hosts):
            looked += 1
            self.turn += 1
            if self.turn >= len(hosts):
                self.turn = 0
            host = hosts[self.turn]
            if host.host_id and host.can_take and host.next_owed() >= 0:
                return host
        return None

    def send_row(self, host, place):
        """Send a row to a host, and to all that are owed it; return whether it was in use."""
        table = self.find_table(place)
        if table is self.events:
            return self.send_event(place, host.next_event)
        table = table.encode(self.row, self.uplink)
        for host in self.hosts:
            if host.is_due(place) and (not table or host.transmit()):
                host.owed[place] = 0
        return table

    def find_table(self, place):
        """Return the table that has a row, and set `row` to its place there."""
        for table in self.tables:
            if place < len(table.dirty):
                break
            place -= len(table.dirty)
        self.row = place
        return table

    def send_event(self, place, number):
        """Send the event of a number to all for which it comes next; return whether there is one.

        Where it was overwritten, that is the oldest that is left.
        """
        self.events.next = number
        self.has_event = self.events.encode(0, self.uplink)
        for host in self.hosts:
            if host.is_due(place) and host.next_event == number:
                host.send_event(place)
        return self.has_event
