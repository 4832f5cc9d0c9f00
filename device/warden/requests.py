"""What a host may request: a function for each request, by its number. Loaded at the first one.

docs/wire.md has the arguments. What a host allocates and begins belongs to its session, which ends
when it has been gone for long.
"""

from micropython import const

from warden.errors import deny
from warden.sensors.threads import import_lock

_DEFAULT_TTL = const(60_000)


class RequestHandlers:
    """`find(number)` returns the function, None if there is none.

    The functions raise Denied, KeyError for an unknown id, TypeError and ValueError.
    """

    def __init__(self, agent):
        self._agent = agent
        self._functions = (
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
            None,  # was COST
            self._store_policy,
            self._collect,
            self._quota,
            self._set_quota,
        )

    def find(self, number):
        """Return the function that carries out this request."""
        if number is None or not 0 <= number < len(self._functions):
            return None
        return self._functions[number]

    @property
    def _policy(self):
        policy = self._agent.policy
        if policy is None:
            raise deny("watching")
        return policy

    def _ping(self):
        pass

    def _read_history(self, tier, metric, statistic):
        with import_lock:
            from warden.trend_report import read_column
        return read_column(self._agent, tier, metric, statistic)

    def _collect(self):
        memory = self._agent.memory
        wait_ms = memory.collect_in_ms()
        if wait_ms:  # so that no host can make the application stand still
            raise deny("collected", None, wait_ms)
        used = memory.used_now()
        if not memory.collect():
            raise deny("gc_off")
        return max(0, used - memory.live)

    # --- what is granted ------------------------------------------------------------------------

    def _host_session(self):
        return self._policy.sessions.of_host(self._agent.session.host_id)

    def _allocate(self, kind, amount, owner=None, priority=None, ttl_ms=None, mount=None):
        return self._policy.leases.allocate(
            kind,
            amount,
            owner or "",
            1 if priority is None else priority,
            _DEFAULT_TTL if ttl_ms is None else ttl_ms,
            self._host_session(),
            False,
            mount,
        ).id

    def _release(self, lease_id):
        self._policy.leases.find(lease_id).release()

    def _begin(self, name, priority=None, timeout_ms=None, memory=None, wait_ms=None):
        operations = self._policy.operations
        op = operations.new(
            name,
            1 if priority is None else priority,
            timeout_ms,
            memory,
            wait_ms or 0,
            self._host_session(),
        )
        operations.begin(op)
        return op.id, op.state

    def _complete(self, op_id):
        self._policy.operations.find(op_id).complete()

    def _cancel(self, op_id):
        from warden.policy.operations import PREEMPTED

        operations = self._policy.operations
        operations.stop(operations.find(op_id), PREEMPTED)

    def _can_execute(self, priority):
        return self._policy.operations.can_execute(priority)

    # --- the policy -----------------------------------------------------------------------------

    def _set_limits(self, operations=None, timeout_ms=None, reserve_permille=None, overrun_ms=None):
        return self._policy.set_limits(operations, timeout_ms, reserve_permille, overrun_ms)

    def _set_threshold(self, metric, warn, critical, clear, hold_ms, action):
        self._policy.thresholds.set(metric, warn, critical, clear, hold_ms or 0, action or 0)

    def _send_meters(self, for_ms):
        self._policy.meters.send(for_ms)

    def _stored(self):
        self._policy  # noqa: B018, Denied where there is none
        with import_lock:
            from warden.stored_policy import stored_policy_of
        return stored_policy_of(self._agent)

    def _store_policy(self, what):
        return self._stored().request(what)

    def _quota(self, place):
        return self._stored().quota(place)

    def _set_quota(self, *quota):
        self._stored().set_quota(*quota)
