"""The board's side of a session: who listens, what it still has to be told, what it asks.

Silent until a host subscribes, and again three seconds after its last sign of life. Whatever
arrives, nothing is raised: damage and unknown kinds are counted, and a request is carried out once
however often it comes.
"""

from array import array

from micropython import const

from warden.errors import Denied
from warden_schema import codec
from warden_schema.loops import alive as _alive
from warden_schema.loops import hear as _hear
from warden_schema.loops import pack_row as _pack_row
from warden_schema.loops import pump_rows as _pump_rows

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
_MAX_PENDING = const(4)  # a power of two
_SILENCE_MS = const(3000)
_RESERVE = const(48)  # as in uplink
_UNKNOWN = const(-0x40000000)
_MOST = const(0x3FFFFFFF)

# What `loops.take` works on: a reader's marks, as in `frame`.
_ROOM = const(2)
_BAD = const(3)
_LENGTH = const(4)
_FOUND = const(5)
_ITEMS = const(6)
_KIND = const(7)  # the first field of a flat message, and those after it
_HOST = const(8)
_MAJOR_VERSION = const(8)
_HOST_ID = const(10)  # of a SUBSCRIBE
_SEQ = const(9)
_REQUEST_ID = const(9)
_REQUESTED = const(10)
_ARGUMENTS = const(11)
_MARKS = const(20)

_OK = const(0)
_UNKNOWN_REQUEST = const(1)
_BAD_ARGUMENTS = const(2)
_FAILED = const(3)
_DENIED = const(4)
_NOT_FOUND = const(5)

_DUE = const(b"\x01")  # in a table's flags, and in the clock's news
# In the sample.
_DROPPED_FRAMES = const(18)
_SKIPPED_FRAMES = const(19)
_BAD_FRAMES = const(20)
_SAMPLE_PLACE = const(23)  # the sample's place there: the last

_CHUNK = const(32)  # bytes that are read at once
_TURN = const(2)  # frames; then the application gets its turn
_NEXT_MS = const(2)
_FULL_MS = const(100)  # until a full link is looked at again

# What SYNCED, ALIVE and REFUSED are due, in `due`; a REPLY's bit is _FIRST_REPLY << its place.
_DUE_ALIVE = const(1)
_DUE_REFUSED = const(2)
_DUE_SYNCED = const(4)
_DUE_SAMPLE = const(8)  # the one before SYNCED
_FIRST_REPLY = const(16)


class Session:
    """Reads the link with `receive`, tells the host what is due with `pump`."""

    def __init__(self, link, uplink, clock, sample, tables, handler_of, heard):
        self.host_id = 0  # 0: nobody listens
        self.subscribed = False  # just now
        self.events_from = None  # the first event that the host wants
        self.link = link
        self._hang_up = getattr(link, "drop", None)  # what has connections can end one
        self.uplink = uplink
        self.clock = clock
        self.sample = sample
        self.news = clock.news  # a byte for each table, from the second on
        sample.news = self.news
        sample.place = _SAMPLE_PLACE
        self.skipped = 0  # whole frames of an unknown kind
        self.bad = 0  # frames that were broken, or whole but made no sense; both are told, too
        self._values = values = sample.values
        values[_DROPPED_FRAMES] = values[_SKIPPED_FRAMES] = values[_BAD_FRAMES] = 0
        self.tables = []  # all others; the first is Hello
        self._unmarked = bytearray(len(self.news))  # 1: a host wants all of that table
        for table in tables:
            self.add(table)
        self.handler_of = handler_of  # operation -> function of its arguments, or None
        self._told_of = heard  # called with the host's id and "found", "alive", "lost" or "gone"
        self.payload = bytearray(_MAX_REQUEST + 2)  # and its CRC
        self.marks = array("i", [0] * _MARKS)
        self.marks[_ROOM] = _MAX_REQUEST + 2
        self._cursor = codec.Cursor(self.payload)
        self.chunk = bytearray(_CHUNK)
        self.hosts = None  # those that have something here, once there is a policy
        self.heard_s = 0
        self.heard_ms = 0
        self.sent_at_keepalive = 0
        self.due = 0  # what else than rows is due, a bit for each
        self.under_way = None  # the table of which a row is being sent, and
        self.row_under_way = 0  # which one
        self.frames = 0  # sent in this turn
        self._refused_id = 0
        self._replies = [None] * _MAX_PENDING  # (request_id, code, value)
        self._replies_to = 0  # whose they are: kept over a silence, for its repeats
        self._others = [None] * _MAX_PENDING  # those to the host before: it may come back
        self._others_to = 0

    def add(self, table):
        """Have a table told, too."""
        table.news = self.news
        self.tables.append(table)
        table.place = len(self.tables)

    # --- from the host --------------------------------------------------------------------------

    def receive(self):
        """Read and act on what has arrived."""
        count = self.link.read(self.chunk)
        if count:
            self.hear(count)

    hear = _hear

    def take_message(self, marks):
        if marks[_KIND] == _REQUEST and marks[_FOUND] == 5 and marks[_ITEMS] >= 0:
            if marks[_HOST] == self.host_id:
                arguments = self._arguments(marks) if marks[_ITEMS] else ()
                self._request(marks[_REQUEST_ID], marks[_REQUESTED], arguments)
        elif marks[_KIND] == _SUBSCRIBE and marks[_FOUND] == 4 and marks[_ITEMS] < 0:
            self._subscribe(marks[_MAJOR_VERSION], marks[_HOST_ID], None)
        else:
            self._read_message(marks)

    @staticmethod
    def _arguments(marks):
        """Return the arguments of a flat request."""
        found = marks[_ARGUMENTS : _ARGUMENTS + marks[_ITEMS]]
        return [None if word == _UNKNOWN else word for word in found]

    def _read_message(self, marks):
        cursor = self._cursor
        cursor.begin(0, marks[_LENGTH])
        try:
            fields = cursor.array() - 1
            kind = cursor.integer()
            if kind == _KEEPALIVE and fields >= 2:
                if cursor.integer() == self.host_id:
                    seq = cursor.integer()
                    _alive(self, seq if seq is not None and 0 <= seq <= 0xFFFF else _UNKNOWN)
            elif kind == _SUBSCRIBE and fields >= 3:
                major, _, host_id = cursor.integer(), cursor.integer(), cursor.integer()
                events_from = cursor.integer() if fields >= 4 else None
                self._subscribe(major, host_id, events_from)
            elif kind == _REQUEST and fields >= 4:
                host_id, request_id = cursor.integer(), cursor.integer()
                operation, arguments = cursor.integer(), cursor.value(2)
                if host_id == self.host_id:
                    if isinstance(arguments, list):
                        self._request(request_id, operation, arguments)
                    else:
                        marks[_BAD] += 1
            elif kind == _UNSUBSCRIBE and fields >= 1:
                if self.host_id and cursor.integer() == self.host_id:
                    self._part("gone")
            elif _SUBSCRIBE <= kind <= _REQUEST:
                marks[_BAD] += 1  # too short
            else:
                self.skipped += 1
                self._values[_SKIPPED_FRAMES] = self.skipped
        except (codec.Malformed, TypeError):  # TypeError: None where a number belongs
            marks[_BAD] += 1

    def _part(self, how):
        self._told_of(self.host_id, how)
        self.host_id = 0

    def _heard(self):
        clock = self.clock
        clock.advance()
        self.heard_s = clock.s
        self.heard_ms = clock.ms
        if self.hosts:
            self._told_of(self.host_id, "alive")

    def _subscribe(self, major, host_id, events_from):
        if not isinstance(host_id, int) or host_id <= 0:
            self.marks[_BAD] += 1
            return
        if major != _MAJOR:
            self._refused_id = host_id
            self.due |= _DUE_REFUSED
            return
        if host_id != self.host_id:  # another, or the same after a silence
            self.host_id = host_id
            self.uplink.forget()
            self._told_of(host_id, "found")
        if host_id != self._replies_to:
            self._change_replies(host_id)
        self._heard()
        news = self.news
        self.events_from = events_from
        self.tables[0].host_id = host_id
        for place in range(1, len(self.tables) + 1):  # they are marked when it is their turn
            self._unmarked[place] = news[place] = 1
        news[0] = 1
        self.subscribed = True
        self.sample.mark()
        self.due |= _DUE_SYNCED | _DUE_SAMPLE

    def _change_replies(self, host_id):
        """Go on with the replies of another host: those it had, if it was the one before."""
        self.due = 0
        self._replies, self._others = self._others, self._replies
        if host_id != self._others_to:
            for place in range(_MAX_PENDING):
                self._replies[place] = None
        self._others_to = self._replies_to
        self._replies_to = host_id

    def tell_alive(self):
        """Say that a host which has something here is there."""
        self._told_of(self.host_id, "alive")

    def _request(self, request_id, operation, arguments):
        if not self.host_id:
            return
        if not 0 <= request_id <= 0xFFFF:
            self.marks[_BAD] += 1
            return
        self._heard()
        # A place holds every fourth id; with four under way at most, an older one is a late repeat.
        place = request_id & (_MAX_PENDING - 1)
        reply = self._replies[place]
        if reply is None:
            self._replies[place] = reply = [request_id - 1 & 0xFFFF, _FAILED, None]
        if 0 < (request_id - reply[0] & 0xFFFF) < 0x8000:
            reply[2] = None
            reply[1] = _FAILED
            reply[0] = request_id  # first: what it does must not be done again
            self._carry_out(reply, operation, arguments)
        elif request_id != reply[0]:
            return
        self.due |= _FIRST_REPLY << place

    def _carry_out(self, reply, operation, arguments):
        """Do what a host asks, and put into its reply, a list, a code and a value."""
        handler = self.handler_of(operation)
        if handler is None:
            reply[1] = _UNKNOWN_REQUEST
            return
        try:
            reply[2] = handler(*arguments) if arguments else handler()
            reply[1] = _OK
        except Denied as error:
            reply[1] = _DENIED
            blockers = list(error.blockers)[:12]
            reply[2] = [error.reason, error.available, error.retry_after_ms, blockers]
        except KeyError:
            reply[1] = _NOT_FOUND
        except (TypeError, ValueError):
            reply[1] = _BAD_ARGUMENTS
        except Exception as error:  # whatever it is, the host is told and the board goes on
            reply[2] = codec.cut(type(error).__name__, 32)

    # --- to the host ----------------------------------------------------------------------------

    def pump(self):
        """Send what is due, as far as the link takes it; return the ms until there is more to do.

        0: until a host subscribes.

        It sends two frames of tables at most, lest a host that has to be told everything keep the
        application waiting.

        A new sample comes last, lest quick sampling over a slow link keep all else waiting; only
        the one that a subscription asked for comes before its SYNCED.
        """
        due = self.due
        if due & _DUE_REFUSED and not self._short(_REFUSED, _DUE_REFUSED):
            return _FULL_MS
        if not self.host_id:
            self._forget_news()
            return 0
        if self.under_way is not None:
            self._take_up()
        clock = self.clock
        left = (self.heard_s - clock.s) * 1000 + self.heard_ms - clock.ms + _SILENCE_MS + 1
        if left <= 0:
            self._part("lost")
            if self._hang_up is not None:
                self._hang_up()  # else one that lost its power would keep the next host out
            return 0
        if not self.uplink.ready():
            return _FULL_MS
        news = self.news
        if not due and news.find(_DUE, 1) < 0:
            return left
        self.frames = 0
        done = (
            self._pump_tables()
            and (due < _FIRST_REPLY or self._pump_replies())
            and (not due & _DUE_SYNCED or self._pump_synced())
            and (not news[_SAMPLE_PLACE] or self._pump_table(self.sample))
        )
        if due & _DUE_ALIVE:  # also when the rest cannot go: see Uplink.send
            self._short(_ALIVE, _DUE_ALIVE, 0)
        if done:
            return left
        news[0] = 1  # each poll tries again
        return _NEXT_MS if self.frames >= _TURN else _FULL_MS

    def _forget_news(self):
        """Have nothing due: a host that subscribes is told everything."""
        news = self.news
        place = news.find(_DUE, 1)
        while place > 0:
            news[place] = 0
            place = news.find(_DUE, place)

    def _pump_tables(self):
        news = self.news
        while True:
            place = news.find(_DUE, 1, _SAMPLE_PLACE)
            if place < 0:
                return True
            table = self.tables[place - 1]
            if self._unmarked[place]:
                table.mark()
                self._unmarked[place] = 0
            if not self._pump_table(table):
                return False

    _pump_table = _pump_rows

    def _take_up(self):
        """Have a row told again that was broken off: there was no memory for it, or Ctrl-C came."""
        table = self.under_way
        self.under_way = None
        table.due[self.row_under_way] = 1
        self.news[table.place] = 1

    def _pump_replies(self):
        due = self.due // _FIRST_REPLY
        place = 0
        while due:
            if due & 1 and not self._reply(place):
                return False
            due >>= 1
            place += 1
        return True

    def _pump_synced(self):
        if self.due & _DUE_SAMPLE:
            if not self._pump_table(self.sample):
                return False
            self.due &= ~_DUE_SAMPLE
        return self._short(_SYNCED, _DUE_SYNCED)

    def _reply(self, place):
        uplink = self.uplink
        if not uplink.ready():
            return False
        reply = self._replies[place]
        value = reply[2]
        payload = uplink.payload
        at = uplink.begin(_REPLY, 3)
        if value is None or (isinstance(value, int) and -_MOST <= value <= _MOST):
            at = _pack_row(payload, at, reply, 3, 0)
        else:
            at = codec.put(payload, _pack_row(payload, at, reply, 2, 0), value)
        if not uplink.send(at, _RESERVE):
            return False
        self.frames += 1
        self.due &= ~(_FIRST_REPLY << place)
        return True

    def _short(self, kind, due, reserve=_RESERVE):
        """Send REFUSED, SYNCED or ALIVE; return whether it could go."""
        uplink = self.uplink
        if not uplink.ready():
            return False
        buf = uplink.payload
        if kind == _REFUSED:
            at = uplink.begin(kind, 3)
            at = _pack_row(buf, at, (_MAJOR, _MINOR), 2, 0)
            at = codec.put_int(buf, at, self._refused_id)
        elif kind == _SYNCED:
            at = codec.put_int(buf, uplink.begin(kind, 1), self.host_id)
        else:
            at = uplink.begin(kind, 0)
        if not uplink.send(at, reserve):
            return False
        self.due &= ~due
        return True
