"""What is done once, as the agent starts: `start()` lets this module go when it ends."""

import sys
from array import array

from micropython import const

from warden.agent import Agent
from warden.board import module
from warden.clock import Clock
from warden.gate import Gate
from warden.governor import Governor
from warden.history import History
from warden.sample import Sample
from warden.sensors.capabilities import update_reasons
from warden.sensors.find_table import find_table
from warden.sensors.load import Load
from warden.sensors.memory import Memory
from warden.sensors.network import Network
from warden.sensors.storage import Storage, shift_for
from warden.sensors.threads import Threads, locks, new_lock

_IDLE_POLLS = const(16)
_NEVER_S = const(0x3FFFFFFF)
_MAX_IDLE_US = const(2000)  # what they may cost, so that nothing exceeds 30 bits,
_MAX_WRAP_US = const(2600)  # and the trials of a wait
_CAPABILITIES = const(18)
_HOST_BURST_MS = const(2000)  # a host may use its share of this long at once, as in `governor`
_MAX_MOUNTS = const(4)
_NO_SCAN = const(10)  # a reason, from ids
_CAN_RESET_CAUSE = const(11)  # places among them
_CAN_UNIQUE_ID = const(12)
_CAN_SYSTEM_HEAP = const(14)
_CAN_HANG = const(15)  # the first of the watchdog's places among the capabilities
_NO_MODULE = const(1)  # reasons, from ids
_NO_NATIVE = const(2)
_NOT_REPORTED = const(6)
_NO_ROOM = const(12)
_NO_WATCHDOG = const(14)
_HEAP_STATE_BYTES = const(76)
_UNKNOWN = const(-0x3FFFFFFF - 1)
_PLACES = const(26)  # of a sample: its values, and what of it is not sent
# Places among a sample's figures.
_UPTIME_S = const(0)
_UPTIME_MS = const(1)
_DROPPED_FIGURE = const(16)
_INTERVAL_FIGURE = const(20)
_COUNT_FIGURES = const(4)  # those of frames and of faults
_TRIALS = const(16)  # of a wait, as `sensors.load` has it
_TRIES = const(3)  # to measure what takes little, in one of which nothing else has the core
# Of a history, as `history` has them: places in its ring, tiers, open slots, and what each holds.
_RING = const(1248)
_TIERS = const(3)
_OPEN_SLOTS = const(12)  # of four metrics in each tier
_NO_VALUE = const(0xFFFF)
_OPEN_SLOT = const((_NO_VALUE, -1, 0, 0))
_NATIVE_SLICE = const(4096)  # bytes of the table: a pause like those of the agent's other steps
_RENEW_SHIFT = const(3)  # an eighth of the heap was used since: live may be wrong by so much


def make_agent(
    board, interval_ms, budget_permille=10, link=None, limits=None, storage=True, steps=True
):
    """Return an Agent whose parts are made and joined, and which has taken its first sample.

    board: what `detect` gives; link: or None; limits: the four of ids.LIMITS_SET, None for an agent
    that only watches; storage: whether that is measured at the start; steps: whether asyncio's are
    timed.
    """
    agent = Agent()
    # First what each poll reads: the last attributes of an object take longest to find (py/map.c
    # probes place after place).
    agent.ticks_ms = board.ticks_ms
    agent.polled_ms = board.ticks_ms()  # in ticks, when it ran last
    agent.rest_ms = 0  # from then on nothing is due,
    agent.listen_ms = 0  # and the link is not read: a host has had its share
    agent.readable = bool  # False: no link
    agent.idle_polls = 0
    agent.board = board
    agent.ticks_us = board.ticks_us
    agent.ticks_diff = board.ticks_diff
    agent.governor = make_governor(interval_ms, budget_permille)
    agent.clock = clock = make_clock(board)
    agent.sample = make_sample()
    agent.threads = count_threads()
    agent.network = watch_network()
    agent.load = make_load(board, steps)
    agent.memory = make_memory(board, clock, agent.governor)
    agent.storage = make_storage(board, clock)
    agent.system_heap = None  # an ESP32's own heap, beside MicroPython's
    if hasattr(module("esp32"), "idf_heap_info"):
        from warden.sensors.system_heap import SystemHeap

        agent.system_heap = SystemHeap(agent)
    agent.history = make_history(agent.memory.total)
    agent.reasons = bytearray(_CAPABILITIES)  # why the board cannot tell what
    agent.reasons[_CAN_RESET_CAUSE] = 0 if board.identity[4] is not None else _NOT_REPORTED
    agent.reasons[_CAN_UNIQUE_ID] = 0 if board.identity[3] else _NOT_REPORTED
    agent.reasons[_CAN_SYSTEM_HEAP] = 0 if agent.system_heap is not None else _NO_MODULE
    update_reasons(agent)
    # Made below, where there is a link or something to decide.
    agent.policy = agent.session = None
    agent.faults = 0  # exceptions inside the agent itself
    agent.deadline_s = agent.deadline_ms = 0  # of the next sample
    agent.gate = Gate(agent.run)
    agent.rows_first = False  # before the link is read again, some rows are sent
    agent.link = link
    if link is not None:
        # A link of the application's may lack it: there, to see what has come is to read.
        agent.readable = getattr(link, "readable", lambda: True)
        session = getattr(link, "session", None)
        if session is None:
            from warden.host_session import HostSession

            session = HostSession
        agent.session = session(agent)
        if agent.system_heap is not None:
            agent.session.tables.append(agent.system_heap)
    if limits is not None:
        # Before what stays is made: else it would lie above garbage, and above what start() lets
        # go, in the midst of what is free. Not more often: of megabytes each takes 0.1 s.
        board.collect()
        from warden.policy_setup import make_policy

        board.collect()
        agent.policy = make_policy(agent, limits)
    # The first sample, and what a poll costs that has nothing to do. Such polls do not time
    # themselves. No host is served before the application goes on: it would mirror a board on which
    # nothing is granted yet.
    for place in range(_CAN_HANG, _CAPABILITIES):  # until `warden.watchdog()`
        agent.reasons[place] = _NO_WATCHDOG
    if not storage:
        agent.storage.deadline_s = _NEVER_S
    governor = agent.governor
    host_us = governor.host_us
    governor.host_us = -host_us
    room = agent.memory.room
    agent.memory.room = 0  # the whole heap at once,
    agent.memory.collect(0)  # with what was made since its first look,
    agent.run_due()  # so that there are figures from the first moment
    agent.memory.room = room
    agent.poll()  # what that marked to be sent
    for _ in range(_TRIES):
        agent.idle_polls = 0
        began = agent.ticks_us()
        for _ in range(_IDLE_POLLS):
            agent.poll()
            agent.has_input()
        if agent.idle_polls == _IDLE_POLLS:
            took_us = max(1, agent.ticks_diff(agent.ticks_us(), began))
            governor.idle_us = min(governor.idle_us or _MAX_IDLE_US, took_us)
    governor.sample_mean_us = -governor.sample_us
    governor.spent_us = governor.sample_us = 0
    governor.host_us = host_us
    agent.listen_ms = 0
    return agent


def make_clock(board):
    """Return a Clock, whose uptime begins now."""
    clock = Clock()
    clock.s = clock.ms = 0
    clock.deadline_s = clock.deadline_ms = 0  # the next one of all
    clock.poll_now = True
    clock.rows_dirty = False  # a table has rows that a host has not been sent
    clock.ticks_ms = board.ticks_ms
    clock.start_ms = clock.last_ms = board.ticks_ms()
    clock.spans = 0  # that are over
    return clock


def make_sample():
    """Return a Sample, of which nothing is known yet."""
    sample = Sample()
    sample.figures = figures = array("i", [_UNKNOWN] * _PLACES)
    figures[_UPTIME_S] = figures[_UPTIME_MS] = figures[_INTERVAL_FIGURE] = 0
    for place in range(_DROPPED_FIGURE, _DROPPED_FIGURE + _COUNT_FIGURES):
        figures[place] = 0
    sample.period_ms = 0
    sample.dirty = bytearray(1)
    sample.last = None  # the figures as the host has them, once there is a link
    sample.mask = 0  # of what had changed when the message was encoded
    sample.seq = 0  # of its frame
    sample.deltas_left = 0  # until the next SAMPLE
    sample.last_seq = 0  # of the frame that the host has them from
    return sample


def make_history(total):
    """Return a History of a heap of `total` bytes, in which nothing is yet."""
    history = History()
    history.shift = shift_for(total)
    history.ring = ring = array("H", range(_RING))  # of bytes it would be there twice for a moment
    for place in range(_RING):
        ring[place] = _NO_VALUE
    history.slots = list(_OPEN_SLOT) * _OPEN_SLOTS
    history.numbers = [0] * _TIERS
    return history


def make_memory(board, clock, governor):
    """Return a Memory that has read the heap once; governor: has the interval of samples."""
    memory = Memory()
    memory.governor = governor
    memory.board = board
    memory.clock = clock
    memory.slices = memory.at_once = None  # what a pass found, in slices and at this moment
    memory.total = memory.free = 0
    memory.live = memory.largest = memory.left = None
    memory.live_s = memory.live_ms = 0  # when that was seen
    memory.is_off = False  # the application has turned collections off: garbage stays
    memory.renew_shift = _RENEW_SHIFT  # or by less: who forecasts sets it
    memory.wanted = 0  # so many bytes should a free block have: whoever protects memory sets it
    memory.last_used = 0  # after a collection that was made here: what it left
    memory.collections = 0
    memory.seen = 0  # of those that the C module counts
    memory.spent_us = 0
    memory.cost_us = 0  # of a collection made here, and when the last one ended
    memory.ended_s = memory.ended_ms = 0
    memory.room = room = 0  # bytes of the table that are a slice; 0: all at once, as now
    memory.reason = _NO_NATIVE
    memory.has_table = False  # which is read here
    memory.sliced = memory.again = False  # the pass under way: has it slices, was it begun anew
    memory.heap = None
    found = find_heap(board)
    if isinstance(found, int):
        memory.reason = found
    else:
        memory.heap, memory.slices, memory.at_once, room, memory.has_table = found
    memory.scan()
    memory.room = room
    return memory


def make_load(board, steps=True):
    """Return a Load, which watches nothing yet."""
    load = Load()
    load.core = None
    load.tasks = -1  # how many there are beside the main one, below 0 if not all were seen
    load.steps = steps  # whether they are timed, and tasks counted
    load.task_queue = None  # of the event loop that has the agent's tasks,
    load.polled_ms = 0  # of which one polled last then, in ticks: Ctrl-C may have ended it;
    load.patience_ms = 0  # how much later it polls again
    load.on_create = None  # called before a task of the application when they are gone
    load.report = None  # called with what ends a task that nobody awaits, see `Events.report`
    load.thread = None  # the one that runs the event loop, as the agent's own task says
    load.board = board
    load.names = None  # asyncio.core's, if create_task is its own, and nobody else's
    load.queue = None  # the one that is watched: each event loop has its own
    load.wait_hook = None  # what stands for its wait_io_event
    load.uncounted_create_task = None
    load.changed = False  # what can be known, since the last sample
    load.in_task = False  # whether that sample was made inside a task
    load.idle_us = 0
    load.asleep_us = 0  # of the running step, as the application announced
    load.worst_us = 0  # the longest step
    load.squares = 0  # sum of squared steps, in units of 64 µs
    load.wrapped = 0  # what took the agent as long as a wait does beside asyncio's own part,
    watch = load.watch(0, min, None)  # in which nothing is waited for
    next(watch)
    wait = watch.send
    load.wrap_us = _MAX_WRAP_US  # is so long for _TRIALS,
    for _ in range(_TRIES):
        began = board.ticks_us()
        for _ in range(_TRIALS):
            wait(1)
        load.wrap_us = min(load.wrap_us, max(1, board.ticks_diff(board.ticks_us(), began)))
    load.idle_us = load.worst_us = load.squares = load.wrapped = 0
    return load


def make_storage(board, clock):
    """Return a Storage, which has measured nothing yet."""
    storage = Storage()
    storage.board = board
    storage.clock = clock
    storage.dirty = bytearray(_MAX_MOUNTS)
    storage.deadline_s = 0
    storage.rows = []  # up to that many
    storage.mounts = []  # the same, as status() has them
    storage.spent_us = 0
    storage.reason = _NO_SCAN
    storage.permille = None
    storage.scaled = _UNKNOWN
    return storage


def make_governor(interval_ms, budget_permille):
    """Return a Governor; ValueError or TypeError as `start_monitoring()` has them."""
    governor = Governor()
    governor.spent_us = 0  # by the agent since the last sample, all of it
    governor.sample_us = 0  # of that, for the sample
    governor.host_us = 0
    governor.host_spent_us = 0
    governor.snapshot_s = 0  # the uptime from which on allow_snapshot() does something
    governor.sample_mean_us = 0  # not positive: what the one at the start took, see `update`
    governor.other_mean = 0  # what neither samples nor hosts take, in 64ths of a permille
    governor.sent = 0  # by the link, modulo 2**16
    governor.budget_permille = None
    governor.idle_us = 0  # what _IDLE_POLLS cost that find nothing due
    governor.set(interval_ms, budget_permille)
    governor.host_us = budget_permille * _HOST_BURST_MS
    return governor


def find_heap(board):
    """Return what reads the heap, or the reason why nothing can.

    That is (heap, two arrays for it, room, has_table): the C module's (docs/native.md), or what
    `find_table` finds. What stands in for a board has its own.
    """
    if hasattr(board, "find_heap"):
        return board.find_heap()
    heap = getattr(module("_warden"), "heap", None)
    if heap is not None:
        states = [array("i", bytes(_HEAP_STATE_BYTES)) for _ in range(2)]
        return heap, states[0], states[1], _NATIVE_SLICE, False
    try:
        return find_table(board)
    except MemoryError:
        return _NO_ROOM


def count_threads():
    """Return the one counter of this board's threads, standing in for `_thread` from now on."""
    del locks[1:]  # of an agent that was stopped
    early = "_thread" in sys.modules
    thread = module("_thread")
    threads = getattr(thread, "_warden", None)
    if threads is None:
        threads = Threads()
        threads.active = 1
        threads.report = None  # called with an exception that ends one, see `Events.report`
        threads.early = early
        if thread is not None:
            threads.lock = new_lock(False)
            threads.start = thread.start_new_thread
            from warden.stand_in import copy

            stand_in = copy(thread, threads)
            stand_in.start_new_thread = threads.start_new_thread
            sys.modules["_thread"] = stand_in
    return threads


def watch_network():
    """Return a Network that watches the module `network`, from now on.

    The one of this board: if another agent was here before, it is that one's.
    """
    network = Network()
    network.available = False
    network.early = "network" in sys.modules
    network.wlan = network.sent = network.received = None
    network.deadline_s = 0
    if module("network") is None:
        return network
    from warden.sensors.wlan import watch_wlan

    return watch_wlan(network)
