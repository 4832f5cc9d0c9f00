"""What a host may ask: a function for each request, by its number. docs/wire.md has the arguments.

What a host allocates and begins belongs to its session, which ends when it has been gone for long.
"""

from micropython import const

from warden.errors import Denied, Preempted

_PING = const(0)
_START_MONITORING = const(1)
_STOP_MONITORING = const(2)
_HISTORY_READ = const(3)
_ALLOCATE = const(4)
_RELEASE = const(5)
_BEGIN = const(6)
_COMPLETE = const(7)
_CAN_EXECUTE = const(8)
_SET_LIMITS = const(9)
_SET_THRESHOLD = const(10)
_CANCEL = const(11)
_TELL_METERS = const(12)
_COST = const(13)
_KEEP = const(14)
_COLLECT = const(15)
_QUOTA = const(16)
_SET_QUOTA = const(17)

_NORMAL = const(1)
_TTL_MS = const(60_000)


class Asked:
    """The functions; they raise Denied, KeyError for an unknown id, TypeError and ValueError."""

    def __init__(self, agent):
        self._agent = agent
        self.handlers = {
            _PING: self._ping,
            _START_MONITORING: agent.start_monitoring,
            _STOP_MONITORING: agent.stop_monitoring,
            _HISTORY_READ: self._history_read,
            _ALLOCATE: self._allocate,
            _RELEASE: self._release,
            _BEGIN: self._begin,
            _COMPLETE: self._complete,
            _CAN_EXECUTE: self._can_execute,
            _SET_LIMITS: self._set_limits,
            _SET_THRESHOLD: self._set_threshold,
            _CANCEL: self._cancel,
            _TELL_METERS: self._tell_meters,
            _COST: self._cost,
            _KEEP: self._keep,
            _COLLECT: self._collect,
            _QUOTA: self._quota,
            _SET_QUOTA: self._set_quota,
        }

    def _ping(self):
        pass

    def _cost(self):
        from warden.costs import cost

        return cost(self._agent)

    def _history_read(self, tier, metric, stat):
        from warden.columns import read

        return read(self._agent, tier, metric, stat)

    def _collect(self):
        memory = self._agent.memory
        wait_ms = memory.collect_in_ms()
        if wait_ms:  # so that no host can make the application stand still
            raise Denied("collected", None, wait_ms)
        used = memory.used_now()
        if not memory.collect():
            raise Denied("gc_off")
        return max(0, used - memory.live)

    def _kept(self):
        from warden.kept import of

        return of(self._agent)

    def _keep(self, what):
        return self._kept().asked(what)

    def _quota(self, place):
        return self._kept().quota(place)

    def _set_quota(self, *quota):
        self._kept().set_quota(*quota)

    def _host_session(self):
        agent = self._agent
        return agent.decide().session_of(agent.session.host_id)

    def _allocate(self, resource, amount, owner, priority, ttl_ms, mount):
        session = self._host_session()
        allocate = self._agent.policy.allocate
        priority = _NORMAL if priority is None else priority
        ttl_ms = _TTL_MS if ttl_ms is None else ttl_ms
        return allocate(resource, amount, owner or "", priority, ttl_ms, session, False, mount).id

    def _release(self, lease_id):
        self._agent.decide().ledger.find(lease_id).release()

    def _begin(self, name, priority, timeout_ms, memory, wait_ms):
        session = self._host_session()
        priority = _NORMAL if priority is None else priority
        begin = self._agent.policy.begin
        op = begin(name, priority, timeout_ms, memory, wait_ms or 0, session)
        return [op.id, op.state]

    def _complete(self, op_id):
        self._agent.decide().operations.find(op_id).complete()

    def _can_execute(self, priority):
        return self._agent.decide().can_execute(priority)

    def _set_limits(self, *limits):
        return self._agent.decide().set_limits(*limits)

    def _set_threshold(self, metric, warn, critical, clear, hold_ms, action):
        self._agent.decide().thresholds.set(
            metric, warn, critical, clear, hold_ms or 0, action or 0
        )

    def _cancel(self, op_id):
        operations = self._agent.decide().operations
        operations.stop(operations.find(op_id), Preempted)

    def _tell_meters(self, for_ms):
        self._agent.decide().tell_meters(for_ms)
