"""The board's side of a session: who listens, what is still to be sent, what is requested.

Silent until a host subscribes, and again three seconds after its last sign of life. Whatever
arrives, nothing is raised: damage and unknown kinds are counted, and a request is carried out once
however often it comes.
"""

from micropython import const

from warden.errors import Denied
from warden.tables import CHANGED, SUBSCRIBED
from warden_schema.codec import Malformed, Reader, cut
from warden_schema.frame import Deframer

_REFUSED = const(2)
_SYNCED = const(5)
_ALIVE = const(6)
_REPLY = const(7)
_SUBSCRIBE = const(64)
_UNSUBSCRIBE = const(65)
_KEEPALIVE = const(66)
_REQUEST = const(67)

_MAJOR = const(1)
_MINOR = const(3)
_MAX_REQUEST = const(128)
_MAX_PENDING = const(4)  # requests at once; a power of two
_MAX_BLOCKERS = const(12)
_SILENCE_MS = const(3000)
_MAX_INPUT = const(64)  # bytes that are read in a turn
_MAX_ROWS = const(2)  # that are sent in a turn; then the application gets its turn
_NEXT_MS = const(2)  # until the next ones
_FULL_MS = const(100)  # until a full link is looked at again

_OK = const(0)
_UNKNOWN_REQUEST = const(1)
_BAD_ARGUMENTS = const(2)
_FAILED = const(3)
_DENIED = const(4)
_NOT_FOUND = const(5)


class Reply:
    """What a request got, kept for the host that asks again."""

    def __init__(self, request_id):
        self.request_id = request_id
        self.code = _FAILED
        self.value = None
        self.due = True


class HostSession:
    """`process_input()` reads the link; `pump()` sends what is due.

    tables: all but the sample's, the first is Hello; find_handler: request number -> function of
    its arguments, or None; on_host: called with a host's id and "found", "alive", "lost" or "gone".
    """

    def __init__(self, uplink, clock, sample, sample_table, tables, find_handler, on_host):
        self.host_id = 0  # 0: nobody listens
        self.events_from = None  # the number of the first event that the host wants
        self.tables = tables
        self.find_handler = find_handler
        self._uplink = uplink
        self._link = uplink.link
        self._clock = clock
        self._sample = sample
        self._sample_table = sample_table
        self._on_host = on_host
        self._chunk = bytearray(_MAX_INPUT)
        self._deframer = Deframer(_MAX_REQUEST)
        self._reader = Reader(self._deframer.payload)
        self._malformed = 0  # whole frames that made no sense
        self._heard_s = self._heard_ms = 0
        self._seq_at_keepalive = 0
        self._refused_id = 0
        self._synced_due = self._alive_due = False
        self._next_table = 0
        self._replies = [None] * _MAX_PENDING
        self._replies_to = 0  # whose they are: kept over a silence, for its repeats
        self._former_replies = [None] * _MAX_PENDING  # those to the host before: it may come back
        self._former_host = 0

    # --- from the host --------------------------------------------------------------------------

    def process_input(self):
        """Read what has arrived, as much as a turn may, and act on it; return the bytes read."""
        chunk = self._chunk
        deframer = self._deframer
        end = min(self._link.read(chunk), _MAX_INPUT)  # more: a link that lies
        at = 0
        while at < end:
            at = deframer.feed(chunk, at, end)
            if deframer.length:
                try:
                    self._reader.begin(0, deframer.length)
                    self._on_message(self._reader)
                except (Malformed, TypeError):  # TypeError: None where a number belongs
                    self._malformed += 1
        self._sample.bad_frames = deframer.bad + self._malformed
        return end

    def _on_message(self, reader):
        items = reader.array()
        kind = reader.integer()
        if kind == _KEEPALIVE:
            if reader.integer() == self.host_id and self.host_id:
                self._on_keepalive(reader.integer())
        elif kind == _REQUEST:
            if reader.integer() == self.host_id and self.host_id:
                self._on_request(reader)
        elif kind == _SUBSCRIBE:
            self._on_subscribe(reader, items)
        elif kind == _UNSUBSCRIBE:
            if reader.integer() == self.host_id and self.host_id:
                self._part("gone")
        else:
            self._sample.skipped_frames += 1

    def _on_subscribe(self, reader, items):
        major = reader.integer()
        reader.integer()
        host_id = reader.integer()
        events_from = reader.integer() if items > 4 else None
        if host_id <= 0:
            raise Malformed("no host has that id")
        if major != _MAJOR:
            self._refused_id = host_id
            return
        if host_id != self.host_id:  # another, or the same after a silence
            self.host_id = host_id
            self._uplink.forget()
            self._on_host(host_id, "found")
        if host_id != self._replies_to:
            self._change_replies(host_id)
        self._heard()
        self.events_from = events_from
        self.tables[0].host_id = host_id
        for table in self.tables:
            table.subscribe()
        self._sample_table.subscribe()
        self._synced_due = True

    def _change_replies(self, host_id):
        """Go on with the replies to another host: those it had, if it was the one before."""
        self._replies, self._former_replies = self._former_replies, self._replies
        if host_id != self._former_host:
            for place in range(_MAX_PENDING):
                self._replies[place] = None
        for reply in self._replies:
            if reply is not None:
                reply.due = False
        self._former_host = self._replies_to
        self._replies_to = host_id

    def _on_keepalive(self, seq):
        self._heard()
        if seq is not None and seq >= 0:
            self._uplink.acknowledge(seq)
        if self._uplink.seq == self._seq_at_keepalive:
            self._alive_due = True  # nothing else was sent meanwhile
        self._seq_at_keepalive = self._uplink.seq

    def _heard(self):
        self._clock.advance()
        self._heard_s = self._clock.s
        self._heard_ms = self._clock.ms
        self._on_host(self.host_id, "alive")

    def _part(self, how):
        self._on_host(self.host_id, how)
        self.host_id = 0

    def _on_request(self, reader):
        request_id = reader.integer()
        if not 0 <= request_id <= 0xFFFF:
            raise Malformed("no request has that id")
        self._heard()
        # A place holds every fourth id; with four under way at most, an older one is a late repeat.
        place = request_id & _MAX_PENDING - 1
        reply = self._replies[place]
        if reply is None or 0 < (request_id - reply.request_id & 0xFFFF) < 0x8000:
            # First of all it is in its place: what it does must not be done again.
            self._replies[place] = reply = Reply(request_id)
            self._carry_out(reply, reader)
        elif request_id == reply.request_id:
            reply.due = True

    def _carry_out(self, reply, reader):
        """Do what a host asks, and note in its reply what came of it."""
        try:
            operation = reader.integer()
            args = reader.value(2)
            handler = self.find_handler(operation)
            if handler is None:
                reply.code = _UNKNOWN_REQUEST
            elif not isinstance(args, list):
                reply.code = _BAD_ARGUMENTS
            else:
                reply.value = handler(*args)
                reply.code = _OK
        except Denied as error:
            reply.code = _DENIED
            reply.value = (
                error.reason,
                error.available,
                error.retry_after_ms,
                error.blockers[:_MAX_BLOCKERS],
            )
        except KeyError:
            reply.code = _NOT_FOUND
        except (TypeError, ValueError):  # Malformed, too
            reply.code = _BAD_ARGUMENTS
        except Exception as error:  # whatever it is, the host is told and the board goes on
            reply.value = cut(type(error).__name__, 32)

    # --- to the host ----------------------------------------------------------------------------

    def on_sample(self):
        """Have the new sample sent."""
        if self.host_id:
            self._sample_table.mark_dirty(0)

    def pump(self, rows):
        """Send what is due, as far as the link takes it; return the ms until there is more to do.

        None: not before a host subscribes. HELLO goes first, then replies, the sample, and rows of
        the tables in turn, if `rows` allows it; SYNCED once all rows were sent that there were when
        the host subscribed, whatever has changed since.
        """
        uplink = self._uplink
        if self._refused_id:
            uplink.begin(_REFUSED, 3)
            uplink.put(_MAJOR)
            uplink.put(_MINOR)
            uplink.put(self._refused_id)
            if uplink.send():
                self._refused_id = 0
        if not self.host_id:
            return _FULL_MS if self._refused_id else None
        clock = self._clock
        left = clock.left_ms(self._heard_s, self._heard_ms) + _SILENCE_MS + 1
        if left <= 0:
            self._part("lost")
            if hasattr(self._link, "drop"):
                self._link.drop()  # else one that lost its power would keep the next host out
            return None
        done = (
            uplink.ready()
            and self._send_row(self.tables[0], 0)  # nothing counts before a HELLO
            and self._send_replies()
            and self._send_row(self._sample_table, 0)
            and self._send_rows(rows)
        )
        if done and self._synced_due and self._find_table(SUBSCRIBED) < 0:
            uplink.begin(_SYNCED, 1)
            uplink.put(self.host_id)
            done = uplink.send()
            self._synced_due = not done
        if self._alive_due:
            uplink.begin(_ALIVE, 0)
            self._alive_due = not uplink.send(0)  # it goes also when the rest cannot
        if not done:
            return _FULL_MS
        more = self._find_table(CHANGED) >= 0 or self._find_table(SUBSCRIBED) >= 0
        return _NEXT_MS if more else left

    def _send_replies(self):
        uplink = self._uplink
        for reply in self._replies:
            if reply is not None and reply.due:
                uplink.begin(_REPLY, 3)
                uplink.put(reply.request_id)
                uplink.put(reply.code)
                uplink.put(reply.value)
                if not uplink.send():
                    return False
                reply.due = False
        return True

    def _send_rows(self, allowed):
        """Send rows of the tables in turn; return False where the link took one no more."""
        for _ in range(_MAX_ROWS if allowed else 0):
            flag = SUBSCRIBED
            place = self._find_table(flag)
            if place < 0:
                flag = CHANGED
                place = self._find_table(flag)
                if place < 0:
                    break
            self._next_table = place + 1
            table = self.tables[place]
            if not self._send_row(table, table.dirty.find(flag)):
                return False
        return True

    def _find_table(self, flag):
        """Return the place of the next table in turn that has a row with this flag, -1 for none."""
        tables = self.tables
        count = len(tables)
        place = self._next_table
        for _ in range(count):
            if place >= count:
                place = 0
            if tables[place].dirty.find(flag) >= 0:
                return place
            place += 1
        return -1

    def _send_row(self, table, row):
        """Send a row if it is due; return False where the link did not take it."""
        flag = table.dirty[row]
        if not flag:
            return True
        table.dirty[row] = 0  # before it is read
        sent = False
        try:
            if not table.encode(row, self._uplink):
                sent = True
            elif self._uplink.send():
                sent = True
                table.on_sent(row)
        finally:  # there was no memory for it, or Ctrl-C came
            if not sent:
                table.dirty[row] = flag
        return sent
