"""What is done once, as an agent that decides starts: let go with `warden.setup`."""

from micropython import const

from warden.gate import Gate
from warden.policy.events import Events
from warden.policy.leases import Leases
from warden.policy.operations import Operations
from warden.policy.policy import Policy
from warden.policy.pressure import Pressure
from warden.policy.sessions import Sessions
from warden.policy.thresholds import DEFAULT_THRESHOLD, Thresholds
from warden.sensors.threads import new_lock

_ROWS = const(12)  # a kind of message
_MAX_DETAIL = const(32)  # of an event


def make_policy(agent, limits):
    """Return a Policy for the agent, with all that decides."""
    policy = Policy(agent.clock, _ROWS, (), 1)
    policy.rows[0] = policy
    policy.agent = agent
    policy.memory = agent.memory
    policy.gate = Gate(policy.deliver)
    policy.lock = new_lock()  # of all that is granted, so that a decision takes one
    policy.events = events = Events(agent.clock, agent.session, policy.lock)
    agent.load.report = agent.threads.report = events.report
    policy.profile = None  # made where an operation's memory is to be learned
    policy.leases = Leases(policy)
    policy.operations = Operations(policy)
    policy.sessions = Sessions(policy)
    policy.thresholds = Thresholds(policy)
    policy.meters = None  # made where a task or a thread is metered
    policy.pressure = Pressure(policy)
    try:
        from warden.policy.lease_handle import LeaseHandle
    except ImportError:  # no weakref: there a dropped lease ends with its time
        LeaseHandle = None
    policy.lease_handle = LeaseHandle  # makes what an application gets of a lease
    policy.quotas = {}  # session's name -> (memory, storage, operations, ttl_ms) unless it says
    policy.forecast = None  # made where a threshold needs it
    policy.own_limits = limits  # the application's
    policy.early_resets = 0  # by the agent, one boot after the other
    policy.stored_policy = None  # made where one is stored or a host requests it
    # What a host mirrors; which rows are in use goes first.
    granted = [policy.leases, policy.operations, policy.sessions]
    policy.tables = granted + [policy, policy.thresholds, None, None]
    policy.set_limits(*limits)
    if agent.session is not None:
        agent.session.tables += [policy] + granted + [policy.thresholds, events]
    policy.thresholds.set(*DEFAULT_THRESHOLD)
    note = agent.board.load_note()
    if note is not None:
        if note[:1].isdigit():  # not an older agent's
            policy.early_resets = int(note[0])
            note = note[1:]
        events.post("reset", None, note[:_MAX_DETAIL])
    return policy
