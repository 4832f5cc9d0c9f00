"""The synchronous face: the same names, the same answers, from any thread."""

from __future__ import annotations

import inspect
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
        assert board.needs == ()


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
        boardwarden.open(FakeTransport(FakePrompt()), timeout=0.3),
    ):
        pass
    with boardwarden.open(FakeTransport(FakeBoard())) as board:
        with pytest.raises(boardwarden.RequestRefused):
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
            figure = board._loop.time().__hash__() % 2**31
            sampling = threading.Event()
            board._loop.call_soon_threadsafe(
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
