"""The synchronous face: the same names, the same answers, from any thread."""

from __future__ import annotations

import inspect
import threading
import time

import pytest

import boardwarden
from boardwarden import Board, SyncBoard
from boardwarden.testing import FakeBoard, FakePrompt, FakeTransport


def _names(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_it_is_the_same_api() -> None:
    assert _names(SyncBoard) == _names(Board)
    for name in _names(Board):
        theirs, ours = getattr(Board, name), getattr(SyncBoard, name)
        assert isinstance(theirs, property) == isinstance(ours, property), name
        if callable(theirs):
            parameters = inspect.signature(theirs).parameters
            assert list(parameters.values()) == list(inspect.signature(ours).parameters.values())
            assert not inspect.iscoroutinefunction(ours), name


def test_a_board_is_read_and_asked_without_asyncio() -> None:
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


def test_errors_come_through() -> None:
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
