"""The synchronous face: the same names, the same answers, from any thread."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import signal
import threading
import time

import pytest

import boardwarden
from boardwarden import Board, Priority, ResourceType, SyncBoard
from boardwarden.testing import FakeBoard, FakePrompt, FakeTransport
from warden_schema import ids


def _names(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_the_synchronous_api_has_the_names_of_the_asynchronous_one() -> None:
    assert _names(SyncBoard) == _names(Board)
    for name in _names(Board):
        theirs, ours = getattr(Board, name), getattr(SyncBoard, name)
        assert isinstance(theirs, property) == isinstance(ours, property), name
        if callable(theirs):
            parameters = inspect.signature(theirs).parameters
            assert list(parameters.values()) == list(inspect.signature(ours).parameters.values())
            assert not inspect.iscoroutinefunction(ours), name


def test_each_method_has_the_docstring_of_board() -> None:
    for name in _names(Board):
        assert getattr(SyncBoard, name).__doc__ == getattr(Board, name).__doc__


def test_status_and_monitoring_work_without_asyncio() -> None:
    peer = FakeBoard()
    with boardwarden.open(FakeTransport(peer)) as board:
        assert board.connected
        assert repr(board) == f"<SyncBoard {board.address}>"
        assert board.status.board.machine == "fakeboard"
        assert board.capabilities["memory"].available
        assert 0 < board.ping() < 5
        board.start_monitoring(0.05)
        assert board.wait_sample().cpu.uptime_s == 11
        assert board.link.frames > 4
        board.stop_monitoring()
        assert board.fetch_history().column(0, "memory", "min").values == (1, None, 3)
        assert board.history.samples[0].uptime_s == 10
        assert board.trends(60.0).memory.slope_per_s is None
        board.interrupt()
    assert peer.host_id is None
    assert not board.connected


def test_updates_and_console_are_plain_iterators() -> None:
    peer = FakeBoard()
    with boardwarden.open(FakeTransport(peer)) as board:
        board.start_monitoring(0.05)
        uptimes = []
        for status in board.updates():
            uptimes.append(status.cpu.uptime_s)
            if len(uptimes) == 3:
                break
        assert uptimes == [11, 12, 13]
        peer.print("hello")
        assert next(board.console()) == "hello"
        rest = board.console()
        assert next(rest) == "hello"
        board.close()
        assert list(rest) == []
        assert list(board.updates()) == []


def test_requests_work_without_asyncio() -> None:
    peer = FakeBoard()
    with boardwarden.open(FakeTransport(peer)) as board:
        held = board.allocate(ResourceType.MEMORY, 8192, "ota", Priority.HIGH, ttl=30.0)
        assert board.allocations == (held,)
        board.release(held.id)
        with board.lease(ResourceType.MEMORY, 10) as lease:
            assert board.allocations == (lease,)
            assert len(board.sessions) == 1
        assert board.allocations == ()
        with board.operation("upload", memory=5) as begun:
            assert board.operations == (begun,)
        assert board.operations == ()
        begun = board.begin("upload")
        board.cancel(begun.id)
        board.complete(begun.id)
        assert board.can_execute(Priority.LOW)
        assert board.set_limits(max_operations=2) == board.limits
        board.set_threshold("memory", warn=0.75)
        assert board.thresholds[0].warn == 0.75
        with board.metering():
            peer.policy.put(ids.METER, 0, [1, "uploader", 0, 1, 300, 25, 90, None])
            board.ping()
            assert board.meters[0].name == "uploader"
        assert board.meters == ()
        assert board.memory_profiles == ()


def test_events_are_a_plain_iterator() -> None:
    peer = FakeBoard()
    peer.policy.happen("lease", 7, "expired", 8192)
    with boardwarden.open(FakeTransport(peer)) as board:
        assert next(board.events()).subject == 7
        rest = board.events()
        assert [event.subject for event in board.recent_events] == [7]
        with pytest.raises(boardwarden.Denied):
            board.allocate(ResourceType.MEMORY, 10**6)
        assert [next(rest).kind, next(rest).kind] == ["lease", "denied"]
        board.close()
        assert list(rest) == []


def test_errors_are_raised_in_the_calling_thread() -> None:
    with (
        pytest.raises(boardwarden.AtPrompt),
        boardwarden.open(FakeTransport(FakePrompt()), timeout=1.0),
    ):
        pass
    peer = FakeBoard()
    peer.answer[ids.PING] = lambda arguments: (ids.BAD_ARGUMENTS, None)
    with boardwarden.open(FakeTransport(peer)) as board:
        with pytest.raises(boardwarden.RequestRefused):
            board.ping()
        with pytest.raises(ValueError, match="interval"):
            board.start_monitoring(0.001)
        listener = board.console()
    for ask in (board.ping, board.wait_sample, board.interrupt):
        with pytest.raises(boardwarden.LinkLost):
            ask()
    with pytest.raises(boardwarden.LinkLost):
        next(listener)


def test_an_exception_in_the_block_closes_the_board() -> None:
    peer = FakeBoard()
    with pytest.raises(KeyError), boardwarden.open(FakeTransport(peer)):
        raise KeyError("the user's")
    assert peer.host_id is None


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with boardwarden.open(FakeTransport(FakeBoard())) as board:
        updates = board.updates()  # never read to its end
        assert board.ping() < 5
    assert threading.active_count() == before
    del updates


def test_the_mirror_may_be_read_by_any_thread_while_it_is_written() -> None:
    peer = FakeBoard()
    peer.values["total_bytes"] = peer.values["free_bytes"] = 0
    wrong: list[object] = []
    over = threading.Event()

    def read(board: SyncBoard) -> None:
        while not over.is_set():
            memory = board.status.memory
            if memory.used_bytes != 0:
                wrong.append(memory)
            board.trends(60.0)

    with boardwarden.open(FakeTransport(peer)) as board:
        readers = [threading.Thread(target=read, args=(board,)) for _ in range(2)]
        for reader in readers:
            reader.start()
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            figure = time.monotonic().__hash__() % 2**31
            sampling = threading.Event()
            board._thread._loop.call_soon_threadsafe(
                lambda figure=figure, sampling=sampling: (
                    peer.sample(total_bytes=figure, free_bytes=figure),
                    sampling.set(),
                )
            )
            sampling.wait(5)
        over.set()
        for reader in readers:
            reader.join()
    assert not wrong


def test_an_error_of_a_block_hides_one_of_its_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    async def complete(self: Board, operation_id: int) -> None:
        raise boardwarden.RequestTimeout("The link is bad.")

    monkeypatch.setattr(Board, "complete", complete)
    with boardwarden.open(FakeTransport(FakeBoard())) as board:
        with pytest.raises(KeyError), board.operation("flash"):
            raise KeyError("the user's")
        with pytest.raises(boardwarden.RequestTimeout), board.operation("flash"):
            pass


def test_what_the_garbage_collector_ends_in_the_boards_own_thread_waits_for_nothing() -> None:
    class Cycle:
        def __init__(self, held: object) -> None:
            self.held, self.itself = held, self

    with boardwarden.open(FakeTransport(FakeBoard())) as board:
        updates, lease = board.updates(), board.lease(ResourceType.MEMORY, 100)
        board.start_monitoring(0.05)
        next(updates)
        assert lease.__enter__().amount == 100
        Cycle(updates), Cycle(lease)
        del updates, lease
        board._thread._loop.call_soon_threadsafe(gc.collect)
        for _ in board.changes():
            if not board.allocations:
                break


def test_requests_of_other_threads_end_with_the_block() -> None:
    ended: list[threading.Thread] = []

    def request(board: SyncBoard) -> None:
        for _ in range(10):  # also once all has ended
            with contextlib.suppress(boardwarden.LinkLost):
                while True:
                    board.ping()
        ended.append(threading.current_thread())

    for _ in range(3):
        with boardwarden.open(FakeTransport(FakeBoard())) as board:
            threads = [threading.Thread(target=request, args=(board,)) for _ in range(6)]
            for each in threads:
                each.start()
            board.ping()
        for each in threads:
            each.join(5)
    assert len(ended) == 18


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_in_a_forked_process_the_board_is_closed_and_the_parents_is_not() -> None:
    with boardwarden.open(FakeTransport(FakeBoard())) as board:
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                signal.alarm(5)
                updates = board.updates()
                for ask in (board.ping, updates.__next__):
                    with pytest.raises(boardwarden.LinkLost):
                        ask()
                board._thread.__exit__()
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert board.ping() < 5


def test_who_would_wait_in_the_boards_own_thread_is_told() -> None:
    with boardwarden.open(FakeTransport(FakeBoard())) as board:

        async def ask() -> float:
            return board.ping()  # as a handler of the logger may

        with pytest.raises(RuntimeError, match="wait for itself"):
            board._thread.call(ask())
        assert board.ping() < 5
