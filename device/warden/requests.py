"""Carries out each request of a host once, however often its frame arrives; loaded at the first.

docs/wire.md has the requests and their arguments. What a host allocates and begins belongs to its
session, which ends when it has been gone for long.
"""

from micropython import const

from warden.checks import check_int
from warden.errors import Denied, check_text, deny
from warden.sensors.threads import import_lock
from warden_schema.codec import cut, put
from warden_schema.values import read_array, read_value

_REPLY = const(7)
_MAX_PENDING = const(4)  # requests at once; a power of two
_MAX_BLOCKERS = const(12)
# A row of `Requests.hosts`: host_id, right, until when the request may come again, a bit for each
# reply that is to be sent, the replies.
_ROW_ID = const(0)
_ROW_RIGHT = const(1)
_ROW_UNTIL = const(2)
_ROW_DUE = const(3)
_ROW_REPLIES = const(4)
_MAX_REMEMBERED = const(2)  # whose replies are remembered, where a session does not say
_REPEATS_S = const(6)  # for so long a request may come again
_DEFAULT_TTL_MS = const(60_000)
_NORMAL = const(1)  # a priority
_HOST_SESSION_MS = const(10_000)  # a host's session ends so long after its last sign of life
_MAX_SEND_MS = const(60_000)
_SAMPLE_COLLECT_PAUSE = const(200)  # after a collection, as `sensors.memory` has it

# Places in a reply.
_REQUEST_ID = const(0)
_CODE = const(1)
_VALUE = const(2)

_OK = const(0)
_UNKNOWN_REQUEST = const(1)
_BAD_ARGUMENTS = const(2)
_FAILED = const(3)
_DENIED = const(4)
_NOT_FOUND = const(5)

_SET_LIMITS = const(9)
_KEEP = const(14)
_SAFE_MODE = const(18)
_NOTHING = const(0)  # how a stored policy stands, of ids.KEPT
_INSIST = const(3)  # the last of ids.KEEPING
# A bit for each of PING, HISTORY_READ, CAN_EXECUTE, TELL_METERS, QUOTA.
_LOOKING = const(0x11109)
_NAMELESS = const((0, 3, 8))  # of those, what names nothing
_OBSERVE = const(1)  # rights
_CONTROL = const(2)


def find_entry(table, number):
    """Return the entry of that id; KeyError if it has ended or never was."""
    for entry in table.rows:
        if entry is not None and entry.id == number:
            return entry
    raise KeyError(number)


def only_looks(number, args):
    """Tell whether a request changes nothing on the board."""
    if number == _SET_LIMITS:  # with no values it only replies
        return args.count(None) == len(args)
    return _LOOKING >> number & 1 or (number in (_KEEP, _SAFE_MODE) and not any(args))


class Requests:
    """Carries out requests, and remembers the replies: a repeat of a request gets it again.

    A reply is a list: the request's id, the code and the value.
    hosts: a row for each host, see `_ROW_ID`: under another right it is another host. The functions
    raise Denied, KeyError for an unknown id, TypeError and ValueError.
    """

    def __init__(self, agent):
        self.agent = agent
        self.hosts = []
        self.session = None  # of the host that requests something
        self.functions = (
            self._ping,
            agent.start_monitoring,
            agent.stop_monitoring,
            self._read_history,
            self._allocate,
            self._release,
            self._begin,
            self._complete,
            self._can_execute,
            self._set_limits,
            self._set_threshold,
            self._cancel,
            self._send_meters,
            None,  # reserved: was COST
            self._store_policy,
            self._collect,
            self._quota,
            self._set_quota,
            self._safe_mode,
        )

    def find_row(self, session):
        """Return the row of a session's host; None where there is no place for a new one.

        One is forgotten that the session may do without: first who only looked, for what he
        requested may be done again, then who has changed nothing for longest.
        """
        hosts = self.hosts
        host_id = session.host_id
        link = getattr(session, "link", self.agent.link)
        right = getattr(link, "right", _CONTROL)
        for row in hosts:
            if row[_ROW_ID] == host_id and row[_ROW_RIGHT] == right:
                hosts.remove(row)
                break
        else:
            row = [host_id, right, 0, 0] + [None] * _MAX_PENDING
            if len(hosts) >= getattr(session, "limit", _MAX_REMEMBERED):
                free = getattr(session, "free", bool)  # of one at a time any other may go
                former = None
                for other in hosts:
                    if free(other) and (former is None or other[_ROW_UNTIL] < former[_ROW_UNTIL]):
                        former = other
                if former is None:
                    return None
                hosts.remove(former)
        hosts.append(row)
        if session.replies is None:  # it has subscribed: what it has not requested is not sent
            session.replies = row
            row[_ROW_DUE] = 0
        return row

    def process(self, session, request_id, reader):
        """Carry out a request, unless it is a repeat, and mark its reply for sending.

        An exception becomes the reply's code; MemoryError for the reply itself is raised.
        """
        row = session.replies or self.find_row(session)
        if row is None:
            return  # it comes again
        self.session = session
        # A place holds every fourth id; with four under way at most, an older one is a late repeat.
        place = request_id & _MAX_PENDING - 1
        reply = row[_ROW_REPLIES + place]
        if reply is not None and not 0 < (request_id - reply[_REQUEST_ID] & 0xFFFF) < 0x8000:
            if request_id == reply[_REQUEST_ID]:
                row[_ROW_DUE] |= 1 << place
                if row[_ROW_UNTIL]:
                    row[_ROW_UNTIL] = self.agent.clock.s + _REPEATS_S
            return
        # First of all it is in its place: what it does must not be done again.
        row[_ROW_REPLIES + place] = reply = [request_id, _FAILED, None]
        row[_ROW_DUE] |= 1 << place
        try:
            number = reader.integer()
            args = []
            left = read_array(reader)
            while left:
                args.append(read_value(reader, 1))
                left -= 1
            function = None
            if number is not None and 0 <= number < len(self.functions):
                function = self.functions[number]
            if function is None:
                reply[_CODE] = _UNKNOWN_REQUEST
            else:
                right = row[_ROW_RIGHT]
                if not only_looks(number, args):
                    if right < _CONTROL:
                        raise deny("needs_control")
                    row[_ROW_UNTIL] = self.agent.clock.s + _REPEATS_S
                elif right < _OBSERVE and number not in _NAMELESS:
                    raise deny("needs_observe")
                for value in args:
                    if isinstance(value, str):
                        check_text(value)
                reply[_VALUE] = function(*args)
                reply[_CODE] = _OK
        except Denied as error:
            reply[_CODE] = _DENIED
            reply[_VALUE] = (
                error.reason,
                error.available,
                error.retry_after_ms,
                error.blockers[:_MAX_BLOCKERS],
            )
        except KeyError:
            reply[_CODE] = _NOT_FOUND
        except TypeError:
            reply[_CODE] = _BAD_ARGUMENTS
        except ValueError:  # Malformed, too
            reply[_CODE] = _BAD_ARGUMENTS
        except Exception as error:  # whatever it is, the host gets its name and the board goes on
            reply[_VALUE] = cut(type(error).__name__, 32)

    def send_replies(self, uplink, row, is_shared=False):
        """Send the replies of a row that are due; return False where the link did not take one.

        is_shared: all hosts read the stream: each reply says whom it answers.
        """
        place = 0
        while row[_ROW_DUE]:
            if row[_ROW_DUE] >> place & 1:
                row[_ROW_DUE] ^= 1 << place  # first: one that cannot be encoded is not in the way
                reply = row[_ROW_REPLIES + place]
                uplink.begin(_REPLY, 4 if is_shared else 3)
                uplink.at = put(uplink.payload, uplink.at, reply[_REQUEST_ID])
                uplink.at = put(uplink.payload, uplink.at, reply[_CODE])
                uplink.at = put(uplink.payload, uplink.at, reply[_VALUE])
                if is_shared:
                    uplink.put(row[_ROW_ID])
                if not uplink.send():
                    row[_ROW_DUE] |= 1 << place
                    return False
            place += 1
        return True

    @property
    def _policy(self):
        policy = self.agent.policy
        if policy is None:
            raise deny("watching")
        return policy

    def _ping(self):
        pass

    def _read_history(self, tier, metric, statistic):
        with import_lock:
            from warden.history_reader import read_column
        return read_column(self.agent, tier, metric, statistic)

    def _collect(self):
        memory = self.agent.memory
        wait_ms = memory.collect_in_ms(_SAMPLE_COLLECT_PAUSE)
        if wait_ms:  # so that no host can make the application stand still
            raise deny("collected", None, wait_ms)
        used = memory.used_now()
        if not memory.collect(0):
            raise deny("gc_off")
        return max(0, used - memory.live)

    def _safe_mode(self, must_leave=None):
        leave = getattr(self.agent, "leave_safe_mode", None)  # which `crash_setup` gives it
        if must_leave:
            if leave is None:
                raise deny("not_safe")
            leave()
        return leave is not None

    # --- what is granted ------------------------------------------------------------------------

    def _host_session(self):
        """Return the session of the host; it is opened when the host first has something."""
        sessions = self._policy.sessions
        hosts = sessions.hosts
        host_id = self.session.host_id
        session = hosts.get(host_id)
        if session is None or not session.is_open():
            session = sessions.open("host " + str(host_id), ttl_ms=_HOST_SESSION_MS)
            for other in list(hosts):  # one that another host came after may come back
                if not hosts[other].is_open():
                    del hosts[other]
            hosts[host_id] = session
        return session

    def _allocate(self, kind, amount, owner=None, priority=None, ttl_ms=None, mount=None):
        return self._policy.leases.allocate(
            kind,
            amount,
            owner or "",
            _NORMAL if priority is None else priority,
            _DEFAULT_TTL_MS if ttl_ms is None else ttl_ms,
            self._host_session(),
            False,
            mount,
        ).id

    def _release(self, lease_id):
        find_entry(self._policy.leases, lease_id).release()

    def _begin(self, name, priority=None, timeout_ms=None, memory=None, wait_ms=None):
        operations = self._policy.operations
        op = operations.new(
            name,
            _NORMAL if priority is None else priority,
            timeout_ms,
            memory,
            wait_ms or 0,
            self._host_session(),
        )
        operations.begin(op)
        return op.id, op.state

    def _complete(self, op_id):
        find_entry(self._policy.operations, op_id).complete()

    def _cancel(self, op_id):
        operations = self._policy.operations
        operations.preempt(find_entry(operations, op_id))

    def _can_execute(self, priority):
        return self._policy.operations.can_execute(priority)

    # --- the policy -----------------------------------------------------------------------------

    def _set_limits(self, operations=None, timeout_ms=None, reserve_permille=None, overrun_ms=None):
        return self._policy.set_limits(operations, timeout_ms, reserve_permille, overrun_ms)

    def _set_threshold(self, metric, warn, critical, clear, hold_ms, action):
        self._policy.thresholds.set(metric, warn, critical, clear, hold_ms or 0, action or 0)

    def _send_meters(self, for_ms):
        check_int("for_ms", for_ms, 0, _MAX_SEND_MS)
        meters = self._policy.meters
        if meters is not None:  # else there is nothing that has one
            meters.send_ms = for_ms

    def _store_policy(self, what):
        if what is not None:
            check_int("what", what, 0, _INSIST)
        policy = self._policy
        if what:
            with import_lock:
                from warden.policy_file import request
            return request(self.agent, what)
        stored = policy.stored_policy
        return [_NOTHING if stored is None else stored.state, len(policy.quotas)]

    def _quota(self, place):
        quotas = self._policy.quotas
        if not 0 <= place < len(quotas):
            return None
        name = sorted(quotas)[place]  # in the order of their names
        return [name] + list(quotas[name])

    def _set_quota(self, *quota):
        policy = self._policy
        with import_lock:
            from warden.policy_file import set_quota
        set_quota(policy, *quota)
