"""The policy: leases, operations, sessions and thresholds, joined with what the board measures."""

from micropython import const

from warden.checks import check_int
from warden.errors import Denied
from warden.sensors.threads import import_lock
from warden.tables import Table

_ROWS = const(12)
_METERS_PLACE = const(5)  # places among `tables`
_PROFILE_PLACE = const(6)
_KIND_MEMORY = const(0)  # of a lease
_KIND_STORAGE = const(1)
_KIND_CPU_TIME = const(2)
_CPU_FIGURE = const(3)  # a place among a sample's figures
_CPU_LIMIT_PERMILLE = const(900)
_UNLIMITED = const(0x3FFFFFFF)
_MAX_MS = const(0x3FFFFFFF)  # twelve days
_NEVER_S = const(0x3FFFFFFF)
_NEXT_S = const(60)  # deadlines are looked for this often in any case
_SPARES = const(2)  # operations made ahead, see `deliver`
_MAX_SCAN_MS = const(20)  # as `storage` has it
_LATE_MS = const(1000)  # later than two intervals and so much, and an event says so

# What may be set, as in ids.LIMITS_SET: the attribute of Policy, the least and the most it may be,
# one after the other.
_LIMITS_SET = const((
    "max_operations", 1, 8,
    "operation_timeout_ms", 1, _MAX_MS,
    "memory_reserve_permille", 0, 900,
    "overrun_ms", 0, 600_000,
))  # fmt: skip


class Policy(Table):
    """Joins the tables of what was decided; the agent calls run_due(), evaluate() and gate.enter().

    It is a table itself, of one row: which rows of the others are in use, and the limits. tables:
    those in the order of ROWS, None for what is not made yet, and itself for the limits.
    `warden.policy_setup` makes and joins its parts.
    """

    def load_profile(self):
        """Load and make what learns how much memory operations take, unless it is there."""
        if self.profile is None:
            with import_lock:
                from warden.policy.memory_profile import MemoryProfile

                if self.profile is None:
                    self.profile = self.add_table(_PROFILE_PLACE, MemoryProfile(self))

    def load_meters(self):
        """Return the table of meters, which is loaded and made at the first use; or raise Denied.

        Denied("memory") where there is none for that.
        """
        try:
            if self.meters is None:
                with import_lock:
                    from warden.policy.meters import Meters

                    if self.meters is None:
                        self.meters = self.add_table(_METERS_PLACE, Meters(self))
                        self.pressure.tables.append(self.meters)
        except MemoryError:
            raise self.events.deny("memory")
        return self.meters

    def add_table(self, place, table):
        """Have a host mirror a table that is made late, and return it; place: among `tables`."""
        if self.agent.session is not None:
            self.agent.session.tables.append(table)
        self.tables[place] = table
        return table

    # --- by the agent ---------------------------------------------------------------------------

    def detach(self, caller):
        """End the operations and the meters of tasks, whose event loop is gone.

        But of `caller`: after Ctrl-C asyncio takes plain code for the task that it ended.
        """
        for table in self.pressure.tables:
            for entry in table.rows:
                if entry and entry.task is not None and entry.task is not caller:
                    table.end(entry)

    def run_due(self):
        """End what is past its deadline; return the milliseconds to the next deadline."""
        clock = self.clock
        operations = self.operations
        left = clock.until_ms(clock.deadline_s, clock.deadline_ms)
        if (
            left <= 0
            or operations.to_cancel
            or (operations.waiting and operations.leases_ended != self.leases.ended)
        ):
            self.end_due()
            left = clock.until_ms(clock.deadline_s, clock.deadline_ms)
        return left if left > 0 else 0

    def end_due(self):
        """End what is past its deadline, and find the next deadline."""
        self.leases.run_due()
        self.operations.run_due()
        self.sessions.run_due()
        clock = self.clock
        try:
            with self.lock:
                clock.deadline_s = clock.s + _NEXT_S
                clock.deadline_ms = 0
                self.leases.schedule()
                self.operations.schedule()
                self.sessions.schedule()
        except BaseException:  # Ctrl-C: else some deadlines would be late by a minute
            clock.deadline_s = 0
            raise

    def evaluate(self, period_ms, late_ms):
        """Evaluate a new sample, which was late_ms late; allocates nothing."""
        if late_ms > self.agent.governor.interval_ms + _LATE_MS:
            self.events.post("agent", None, "late", late_ms)
        if self.profile is not None:
            self.profile.evaluate()
        if self.meters is not None:
            self.meters.evaluate(period_ms)
        self.operations.evaluate()
        self.thresholds.evaluate(period_ms)
        self.pressure.evaluate(period_ms)
        if self.stored_policy is not None:
            self.stored_policy.evaluate(period_ms)

    def can_deliver(self):
        """Tell whether deliver() has something to do."""
        events = self.events
        return (
            self.pressure.pending
            or (events.callbacks and events.delivered < events.seq)
            or len(self.operations.spares) < _SPARES
        )

    def deliver(self):
        """Run the application's callbacks, and renew spares; the caller has no lock."""
        if self.pressure.pending:
            self.pressure.act()
            if self.stored_policy is not None:
                self.stored_policy.deliver()
        self.events.deliver()
        operations = self.operations
        if len(operations.spares) < _SPARES:
            try:
                operations.renew_spares()
                Denied.spare = Denied("memory")
            except MemoryError:  # later
                pass

    # --- limits and amounts ---------------------------------------------------------------------

    def available(self, kind, mount):
        """Return how much of a resource is free now, less the reserve; grants are not subtracted.

        kind: of lease. Bytes, permille of a core or bytes a second; 0 if no file system is mounted
        at `mount`, or it does not say.
        """
        reserve = self.memory_reserve_permille
        if kind == _KIND_MEMORY:
            return self.memory.free_now() - self.memory.total // 1000 * reserve
        if kind == _KIND_STORAGE:
            agent = self.agent
            storage = agent.storage
            if storage.deadline_s < _NEVER_S:
                began_ms = agent.ticks_ms()
                row = storage.measure(mount)
                if agent.ticks_diff(agent.ticks_ms(), began_ms) > _MAX_SCAN_MS:
                    storage.deadline_s = _NEVER_S
            else:  # to measure takes long
                row = None
                for known in storage.rows:
                    if known[0] == mount:
                        row = known
            if not row:
                return 0
            return (row[4] - row[2] * reserve // 1000) * row[1]
        if kind == _KIND_CPU_TIME:
            return _CPU_LIMIT_PERMILLE - max(0, self.agent.sample.figures[_CPU_FIGURE])
        return _UNLIMITED

    def set_limits(self, *values):
        """Set the limits that are not None, all or none; return all four, see _LIMITS_SET.

        Raises ValueError or TypeError for what makes no sense.
        """
        for place in range(4):
            if values[place] is not None:
                at = 3 * place
                check_int(_LIMITS_SET[at], values[place], _LIMITS_SET[at + 1], _LIMITS_SET[at + 2])
        for place in range(4):
            if values[place] is not None:
                setattr(self, _LIMITS_SET[3 * place], values[place])
        self.operations.promote_waiters()
        self.mark_dirty(0)
        return self.limits()

    def limits(self):
        """Return the limits as a list, in the order of _LIMITS_SET."""
        return [
            self.max_operations,
            self.operation_timeout_ms,
            self.memory_reserve_permille,
            self.overrun_ms,
        ]

    # --- to a host ------------------------------------------------------------------------------

    def encode(self, row, uplink):
        """Put a ROWS message into the uplink: the rows in use of each table, and the limits."""
        uplink.begin(_ROWS, 7)
        for table in self.tables:
            mask = 0
            bit = 1
            for entry in () if table is None else table.rows:
                if entry is not None:
                    mask |= bit
                bit <<= 1
            uplink.put(self.limits() if table is self else mask)
        return True
