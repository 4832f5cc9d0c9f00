# targets: unix frozen qemu
# heap: 400k
"""With hardly any memory left the board still refuses, answers, and ends what is over its time.

Invariant 15: every public call at every free size from nothing to 8 KB, in a heap whose free
blocks are apart. What a call may not do is to raise anything but Denied, to keep a row or a place,
to leave a lock taken, or to speak for something that is not its own.
"""

import gc
import sys

import warden
from frames import framed
from harness import raises
from rig import SinkLink
from warden.running import running_agent, running_policy

_BLOCK = 4 * (8 if sys.maxsize > 1 << 32 else 4)  # bytes of a heap block: four words
_PIECE = 2 * _BLOCK  # what a bytearray of a block takes: itself, and that
_MOST = 8192
_HOST = 77
_PIECES = _MOST // _PIECE + 64

_OK, _DENIED, _NO_MEMORY, _OTHER = range(4)

# By how many pieces a hole has. A small processor takes its time to fill a heap.
_SIZES = ((1, range(0, _MOST + 1, 512)), (4, range(0, _MOST + 1, 2048)))
if sys.platform == "linux":
    _SIZES = (
        (1, range(0, 2048, 64)),
        (1, range(2048, _MOST + 1, 256)),
        (4, range(0, _MOST + 1, 512)),
    )


class FullHeap:
    """A heap of which so many bytes are free, in pieces that are apart.

    What it needs itself is made while there is memory.
    """

    def __init__(self):
        self._large = [None] * 6000
        self._filled = 0  # so many of them
        self._pieces = [None] * _PIECES
        self._singles = [None] * 400  # a float takes one block

    def fill(self, free, run):
        """Leave so many bytes, in holes of `run` pieces each."""
        gc.collect()
        gc.disable()  # else each block that cannot be had costs a collection
        self._fill_all()
        gc.enable()
        gc.collect()
        gc.disable()
        self._fill_single_blocks()
        gc.enable()
        pieces = self._pieces
        left = free // _PIECE
        place = 0
        while left > 0 and place < _PIECES:
            if place % (run + 1):
                pieces[place] = None
                left -= 1
            place += 1
        gc.collect()

    def _fill_all(self):
        pieces = self._pieces
        size = 4096
        try:
            for place in range(_PIECES):
                if pieces[place] is None:
                    pieces[place] = bytearray(_BLOCK)
        except MemoryError:  # something else has got a block of theirs
            size = _BLOCK
        while True:
            try:
                self._large[self._filled] = bytearray(size)
                self._filled += 1
            except MemoryError:
                if size <= _BLOCK:
                    return
                size = max(_BLOCK, size // 4)

    def _fill_single_blocks(self):
        number = 0.5
        singles = self._singles
        try:
            for place in range(len(singles)):
                if singles[place] is None:
                    number += 1.0
                    singles[place] = number
        except MemoryError:
            pass

    def empty(self):
        """Give it all back."""
        for place in range(len(self._singles)):
            self._singles[place] = None
        while self._filled:
            self._filled -= 1
            self._large[self._filled] = None
        for place in range(_PIECES):
            self._pieces[place] = None
        gc.collect()


def _ignore(what):
    return 0


class Calls:
    """Every public call that an application makes while it runs, each undone by itself."""

    def __init__(self, session):
        self.session = session
        self.lease = None
        self.op = None

    def allocate(self):
        self.lease = warden.allocate(warden.MEMORY, 100)

    def allocate_with_everything(self):
        self.lease = warden.allocate(
            warden.MEMORY, 64, "owner", warden.HIGH, 5000, self.session, True, None, _ignore
        )

    def allocate_bandwidth(self):
        self.lease = warden.allocate(warden.NETWORK_BANDWIDTH, 10, owner="a longer name, 24 bytes")

    def allocate_too_much(self):
        self.lease = warden.allocate(warden.MEMORY, 0x3FFFFFF)

    def begin(self):
        self.op = warden.begin("op")

    def begin_with_everything(self):
        self.op = warden.begin("another", warden.HIGH, 5000, 64, 0, self.session)

    def operation(self):
        with warden.operation("op", priority=warden.LOW) as self.op:
            self.op.check()

    def can_execute(self):
        assert warden.can_execute() is True

    def status(self):
        assert warden.status()["memory"]["total_bytes"] > 0

    def poll(self):
        warden.poll()

    def session_(self):
        with warden.session("other", memory=1000):
            pass

    def undo(self):
        """End what was made; return whether something was."""
        lease, self.lease = self.lease, None
        op, self.op = self.op, None
        if lease is not None:
            lease.release()
        if op is not None:
            op.complete()


class SetUp:
    """The calls with which an application sets something up: these may fail for want of memory."""

    def threshold(self):
        warden.threshold("cpu", 900, 950)

    def no_threshold(self):
        warden.threshold("cpu")

    def set_limits(self):
        warden.set_limits(max_operations=4)

    def operations(self):
        warden.operations()

    def allocations(self):
        warden.allocations()

    def thresholds(self):
        warden.thresholds()

    def monitoring(self):
        warden.start_monitoring(600_000)

    def trends(self):
        warden.trends(60_000)


def _outcome(call):
    """Make a call; return what came of it. Allocates nothing itself."""
    try:
        call()
    except warden.Denied:
        return _DENIED
    except MemoryError:
        return _NO_MEMORY
    except Exception as error:
        _last[0] = error
        return _OTHER
    return _OK


_last = [None]


def _bound(calls, names):
    return [getattr(calls, name) for name in names.split()]


class Running:
    """`with Running() as agent:` an agent whose next sample is far away."""

    def __init__(self, link=False):
        self._link = link

    def __enter__(self):
        warden.start(
            interval_ms=600_000,
            budget_permille=1000,
            max_operations=8,
            link=self._link,
            memory_reserve_permille=0,
        )
        # What it learns of the heap while that is full would have it protect itself.
        warden.threshold("memory")
        warden.poll()
        return running_agent()

    def __exit__(self, kind, error, trace):
        warden.stop()
        return False


def _rows(agent):
    policy = agent.policy
    tables = (policy.leases, policy.operations, policy.sessions)
    return [len([row for row in table.rows if row is not None]) for table in tables]


def test_every_public_call_works_or_fails_cleanly_at_every_free_size():
    heap = FullHeap()
    with Running() as agent, warden.session("s") as session:
        calls = Calls(session)
        names = "allocate allocate_with_everything allocate_bandwidth allocate_too_much begin "
        names += "begin_with_everything operation can_execute status poll session_"
        functions = _bound(calls, names)
        outcomes = bytearray(len(functions))
        refused = bytearray(len(functions))
        undo = calls.undo
        lowest = None
        try:
            for run, sizes in _SIZES:
                for free in sizes:
                    for place in range(len(functions)):
                        heap.fill(free, run)
                        if lowest is None:
                            lowest = gc.mem_free()
                        outcomes[place] = _outcome(functions[place])
                        undo()
                        refused[place] |= outcomes[place] == _DENIED
                        assert not agent.threads.locked(), (run, free, place)
                    heap.empty()
                    for place, outcome in enumerate(outcomes):
                        name = names.split()[place]
                        assert outcome in (_OK, _DENIED), (name, run, free, outcome, _last)
                        if name in ("can_execute", "status", "poll"):
                            assert outcome == _OK, (name, run, free)
                    assert _rows(agent) == [0, 0, 1], (run, free, _rows(agent))
                    assert agent.policy.operations.places == 0
                    warden.poll()  # what was used up is made again
        finally:
            heap.empty()
        assert lowest < 1024, lowest  # the heap was full indeed
        assert refused[0] and refused[3] and refused[6], refused  # and calls were refused
        assert agent.faults == 0


def test_set_up_with_little_memory_works_or_raises_memory_error():
    heap = FullHeap()
    with Running() as agent:
        calls = SetUp()
        warden.trends(1000)  # loads what it needs
        names = "threshold no_threshold set_limits operations allocations thresholds monitoring "
        names += "trends"
        functions = _bound(calls, names)
        outcomes = bytearray(len(functions))
        step = 4 * _PIECE if sys.platform == "linux" else 16 * _PIECE
        try:
            for free in range(0, _MOST + 1, step):
                for place in range(len(functions)):
                    heap.fill(free, 1)
                    outcomes[place] = _outcome(functions[place])
                    assert not agent.threads.locked(), (free, place)
                heap.empty()
                for place, outcome in enumerate(outcomes):
                    name = names.split()[place]
                    assert outcome != _OTHER, (name, free, _last)
                assert len(warden.thresholds()) <= 1
        finally:
            heap.empty()
        warden.threshold("cpu", 900, 950)
        assert [each.metric for each in warden.thresholds()] == [4]


def test_with_nothing_free_two_more_operations_begin_and_a_lease_still_ends():
    heap = FullHeap()
    with Running() as agent:
        for _ in range(3):
            ops = [None, None, None]
            lease = warden.allocate(warden.MEMORY, 64, ttl_ms=20, backed=True)
            late = warden.begin("late", timeout_ms=20)
            reason = None
            try:
                heap.fill(0, 1)
                for place in range(3):
                    try:
                        ops[place] = warden.begin("op")
                    except warden.Denied as error:
                        reason = error.reason
                can_execute = warden.can_execute()
                free = gc.mem_free()
                while lease.active or late.why is None:
                    warden.poll()
                assert agent.faults == 0
                ended = [ops[0].complete(), ops[1].complete(), late.complete()]
            finally:
                heap.empty()
            assert ops[0] is not None and ops[1] is not None
            if ops[2] is not None:  # a block was free after all
                ops[2].complete()
            else:
                assert reason == "memory"
            assert can_execute and ended == [True, True, True], (can_execute, ended, free)
            assert _rows(agent) == [0, 0, 0]
            warden.poll()  # there is memory again
            other = warden.begin("other")
            for op in ops[:2]:
                assert op is not other
                op.progress(500, "half")
                assert not op.complete()
            assert (other.permille, other.text) == (0, "")
            assert warden.operations() == [other]
            other.complete()


def test_with_no_memory_left_a_refusal_has_all_its_fields():
    heap = FullHeap()
    with Running():
        reasons = []
        for free in (0, 64, 256, 1024):
            denied = None
            heap.fill(free, 1)
            try:
                warden.allocate(warden.MEMORY, 0x3FFFFFF)
            except warden.Denied as error:
                denied = error
            finally:
                heap.empty()
            reasons.append((denied.reason, denied.available is not None))
        assert reasons == [("memory", True)] * 4, reasons
        error = raises(warden.Denied, warden.allocate, warden.MEMORY, 0x3FFFFFF)
        assert (error.reason, error.args[0]) == ("memory", "memory")


def test_the_refusal_that_is_kept_for_then_is_made_anew_with_the_spare_operations():
    with Running():
        before = warden.Denied.spare  # what raised it has added to its traceback
        policy = running_policy()
        policy.operations.spares.pop()
        running_agent().poll()
        running_agent().clock.poll_now = True
        running_agent().poll()
        assert warden.Denied.spare is not before
        assert warden.Denied.spare.args == ("memory",)


def test_requests_to_a_board_without_free_memory_break_nothing():
    heap = FullHeap()
    link = SinkLink()
    with Running(link) as agent:
        frames = [
            framed([64, 1, 3, _HOST, None]),
            framed([67, _HOST, 0, 4, [0, 100, "x", 1, 60_000, None]]),
            framed([67, _HOST, 1, 6, ["x", 1, None, None, 0]]),
            framed([67, _HOST, 2, 3, [0, 0, 1]]),
            framed([66, _HOST, None]),
            framed([67, _HOST, 3, 0, []]),
        ]
        receive = link.receive_bytes
        try:
            for free in (0, 128, 512, 2048, 8192):
                for frame in frames:
                    heap.fill(free, 1)
                    receive(frame)
                    for _ in range(3):
                        agent.clock.poll_now = True
                        warden.poll()
                    assert not link.readable()
                    assert not agent.threads.locked()
                heap.empty()
                for each in agent.policy.leases.all():
                    each.release()
                for each in agent.policy.operations.all():
                    each.complete()
        finally:
            heap.empty()
        assert agent.session.host_id == _HOST
        written = link.written
        link.receive_bytes(framed([67, _HOST, 4, 0, []]))
        warden.poll()
        assert link.written > written  # it is answered
        faults = agent.faults
        agent.clock.poll_now = True
        warden.poll()
        assert agent.faults == faults


def _load_meters():
    """As the first warden.spawn() does, which takes asyncio."""
    running_agent().policy.load_meters()


def test_what_could_not_be_loaded_for_want_of_memory_is_loaded_later():
    """MicroPython leaves such a module's name behind, and its next import crashed the board."""
    full = FullHeap()
    calls = (
        (lambda: warden.start(link=False), MemoryError),
        (lambda: warden.trends(60_000), MemoryError),
        (_load_meters, warden.Denied),
    )
    for free in (0, 128, 256, 512, 2048):
        for call, refusal in calls:
            for name in ("trend_report", "meters", "policy.meters"):
                sys.modules.pop("warden." + name, None)
            full.fill(free, 1)
            try:
                call()
            except refusal as error:
                assert refusal is MemoryError or error.reason == "memory"
            full.empty()
            assert None not in [sys.modules.get(name) for name in sys.modules]
            call()
        warden.stop()
