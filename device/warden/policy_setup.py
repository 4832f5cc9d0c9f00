"""What is done once, as an agent that decides starts: let go with `warden.setup`."""

import os
from array import array

from micropython import const

from warden.board import module
from warden.gate import Gate
from warden.policy.block_watch import BlockWatch
from warden.policy.decision_lock import DecisionLock
from warden.policy.events import Events
from warden.policy.leases import Leases
from warden.policy.operations import Operations
from warden.policy.policy import Policy
from warden.policy.pressure import Pressure
from warden.policy.sessions import Sessions
from warden.policy.thresholds import DEFAULT_THRESHOLD, Thresholds
from warden.sensors.threads import new_lock

_LEASE = const(8)  # kinds of messages
_OPERATION = const(9)
_SESSION = const(10)
_ROWS = const(12)
_MAX_LEASES = const(16)
_MAX_OPERATION_ROWS = const(12)  # active, stopping, overdue and waiting ones together
_MAX_SESSIONS = const(8)
_MAX_TRIMS = const(8)
_MAX_DETAIL = const(32)  # of an event
_MAX_NOTE = const(64)  # bytes
_NEVER_S = const(0x3FFFFFFF)


def make_policy(agent, limits):
    """Return a Policy for the agent, with all that decides."""
    policy = Policy(agent.clock, _ROWS, (), 1)
    policy.rows[0] = policy
    policy.agent = agent
    policy.memory = agent.memory
    policy.gate = Gate(policy.deliver)
    policy.lock = make_lock()  # of all that is granted, so that a decision takes one
    policy.events = events = Events(agent.clock, agent.session, policy.lock)
    agent.load.report = agent.threads.report = events.report
    policy.profile = None  # made where an operation's memory is to be learned
    policy.leases = make_leases(policy)
    policy.operations = make_operations(policy)
    policy.sessions = make_sessions(policy)
    policy.thresholds = Thresholds(policy)
    policy.meters = None  # made where a task or a thread is metered
    policy.pressure = make_pressure(policy)
    policy.lease_handle = None  # makes what an application gets of a lease
    if module("weakref") is not None:  # else a dropped lease ends with its time
        from warden.policy.lease_handle import LeaseHandle

        policy.lease_handle = LeaseHandle
    policy.quotas = {}  # session's name -> (memory, storage, operations, ttl_ms) unless it says
    policy.forecast = None  # made where a threshold needs it
    policy.own_limits = limits  # the application's
    policy.early_resets = 0  # by the agent, one boot after the other
    policy.stored_policy = None  # made where one is stored or a host requests it
    # What a host mirrors; which rows are in use goes first.
    granted = [policy.leases, policy.operations, policy.sessions]
    policy.tables = granted + [policy, policy.thresholds, None, None]
    if None in limits:
        raise TypeError("a limit must be an int")
    policy.set_limits(*limits)
    if agent.session is not None:
        agent.session.tables += [policy] + granted + [policy.thresholds, events]
    policy.thresholds.set(*DEFAULT_THRESHOLD)
    note = load_note(agent.board)
    if note is not None:
        if note[:1].isdigit():  # not an older agent's
            policy.early_resets = int(note[0])
            note = note[1:]
        events.post("reset", None, note[:_MAX_DETAIL])
    return policy


def make_lock():
    """Return the lock of all that is granted, for which no callback waits inside its own thread."""
    lock = new_lock()
    if not hasattr(lock, "occupied"):  # that one knows, as there is one thread only
        port, lock = lock, DecisionLock()
        lock.acquire = port.acquire
        lock.release = port.release
        lock.thread = None
    return lock


def load_note(board):
    """Return the text that `Board.save_note` saved over a reset, and remove it; None without one.

    None also for what is no text: power was cut while it was written. A board without files, and
    what stands in for one, has its own.
    """
    if hasattr(board, "load_note"):
        return board.load_note()
    try:
        path = board.path + ".note"
        with open(path, "rb") as file:
            text = file.read(_MAX_NOTE)
        os.remove(path)
        return text.decode()
    except (OSError, ValueError):
        return None


def make_leases(policy):
    """Return the table of leases."""
    leases = make_rows(
        Leases,
        policy,
        _LEASE,
        ("id", "kind", "amount", "owner", "priority", "session", "began_s", "left_ms",
         "committed", "mount"),
        _MAX_LEASES,
    )  # fmt: skip
    leases.last_owner = None
    leases.ended = 0  # so many leases, modulo 2**16: who waits for memory sees that it changed
    return leases


def make_operations(policy):
    """Return the table of operations."""
    operations = make_rows(
        Operations,
        policy,
        _OPERATION,
        ("id", "name", "priority", "state", "permille", "text", "session", "began_s",
         "left_ms", "memory", "why"),
        _MAX_OPERATION_ROWS,
    )  # fmt: skip
    operations.places = 0  # that are occupied, and
    operations.waiting = 0  # so many wait for one
    operations.leases_ended = 0  # when waiting ones were promoted last
    operations.to_cancel = False  # whether a task is to be cancelled, in the loop's thread
    operations.last_name = None
    operations.spares = []  # made while there is memory, for when there is none
    operations.renew_spares()
    return operations


def make_sessions(policy):
    """Return the table of sessions."""
    sessions = make_rows(
        Sessions,
        policy,
        _SESSION,
        ("id", "name", "memory", "storage", "operations", "left_ms"),
        _MAX_SESSIONS,
    )
    sessions.hosts = {}  # host_id -> Session, while it lasts: `Requests` opens them
    return sessions


def make_rows(table, policy, kind, fields, count):
    """Return a table, of a class of Rows, with what each of these has."""
    rows = table(policy.clock, kind, fields, count)
    rows.policy = policy
    rows.lock = policy.lock
    rows.end_s = array("i", [_NEVER_S] * count)
    rows.end_ms = array("h", [0] * count)
    rows.next_id = 1
    return rows


def make_pressure(policy):
    """Return what protects the board; the policy has its tables."""
    pressure = Pressure()
    pressure.policy = policy
    pressure.tables = [policy.operations, policy.leases]  # and meters: with what may be LOW
    pressure.blocks = BlockWatch(policy.memory)
    pressure.level = 0
    pressure.pending = False
    pressure.functions = [None] * _MAX_TRIMS
    pressure.given = [1] * _MAX_TRIMS  # bytes, the last time; a new one comes before one of 0
    pressure.worst = None  # the threshold that sets the level
    pressure.trim_ms = 0  # since the last check whether memory must be given back
    pressure.memory_level = 0  # the worst of what memory that is given back improves
    pressure.is_new = False  # some of that has come to be short, or short again
    pressure.must_trim = None  # the threshold for which it must be
    pressure.reset_count = 0  # samples since a reset was due: at 1 it is announced, then done
    return pressure
