"""Cut off at many points, a deploy leaves a board that boots, and is gone on with or undone.

Power cuts are at single writes to a real littlefs; the line is cut, and the host's process killed,
after a number of bytes. The agent is a tiny one: an old version is replaced by a new one.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys

import campaign
import pytest
import tiny_agent
from places import SUPPORT
from quiet import Quiet
from repl_board import ReplBoard

from boardwarden.deploy import compiler, deploying
from boardwarden.errors import DeployError, LinkLost

LIMIT_S = 20.0


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Return the folders of both versions' sources."""
    folder = tmp_path_factory.mktemp("agents")
    return {version: tiny_agent.write(folder / str(version), version) for version in (1, 2)}


@pytest.fixture
def use(versions, monkeypatch, tmp_path_factory):
    """Return a function that makes a version the one that is deployed; hellos are not awaited."""
    monkeypatch.setattr(deploying, "await_hello", lambda address, talk: None)

    compile_all = compiler.Compiler.compile_all
    made = {}

    def choose(version):
        places = (versions[version],) * 3
        monkeypatch.setattr(compiler, "board_files", lambda: places)

        def once(self, files, folder, architecture, done):
            if version not in made:
                place = tmp_path_factory.mktemp("compiled")
                made[version] = compile_all(self, files, place, architecture)
            return made[version]

        monkeypatch.setattr(compiler.Compiler, "compile_all", once)
        monkeypatch.setattr(compiler.Compiler, "format", lambda self: (6, 3))

    return choose


@pytest.fixture
def user_files():
    """Return what the user had on the board."""
    return {
        "main.py": tiny_agent.APP,
        "lib/other.py": b"# the user's\r\n",
        "lib/warden/mine.py": b"# the user's too\n",
    }


@pytest.fixture(params=["lfs", "fat"])
def kind(request):
    return request.param


def with_version_1(folder, kind, use, user_files):
    """Make a board that has version 1, started by main.py, and then was written to by its user."""
    board = ReplBoard(folder, kind, blocks=128)
    board.put({"main.py": tiny_agent.APP, "lib/other.py": user_files["lib/other.py"]})
    use(1)
    with board:
        deploying.deploy(board.port, "main.py", Quiet())
    board.put({"lib/warden/mine.py": user_files["lib/warden/mine.py"]})
    return board


def copy_of(board, folder, **options):
    """Return a board with a copy of another one's files."""
    folder.mkdir()
    shutil.copy(board.image, folder)
    return ReplBoard(folder, board.kind, blocks=128, **options)


def check_boots(folder, kind, user_files):
    """Power it on: the application runs, with one agent or the other or none, never a mix."""
    with ReplBoard(folder, kind, blocks=128) as board:
        board.wait_for(b"application runs")  # by the agent, or without it
        printed = board.printed
    assert b"Traceback" not in printed, printed
    told = [line for line in printed.splitlines() if line.startswith(b"agent")]
    assert told[0] in (b"agent (1, 1)", b"agent (2, 2)", b"agent none"), printed
    files = board.files()
    assert files["lib/other.py"] == user_files["lib/other.py"]
    assert tiny_agent.APP in (files["main.py"], files.get("own/main.py"))
    return files


def check_goes_on_and_undoes(folder, kind, user_files):
    """Deploy again: then all is as if nothing had happened. Remove: as if nothing ever had."""
    with ReplBoard(folder, kind, blocks=128) as board:
        deploying.deploy(board.port, "main.py", Quiet())
        board.wait_for(b"agent (2, 2)")
    files = board.files()
    assert not [name for name in files if ".boardwarden" in name or "only_in_1" in name], files
    assert "lib/warden/only_in_2_plain.mpy" in files
    assert files["lib/warden/mine.py"] == user_files["lib/warden/mine.py"]
    check_removes(folder, kind, user_files)


def check_removes(folder, kind, user_files):
    """Remove: what is left are the user's files, byte for byte."""
    with ReplBoard(folder, kind, blocks=128) as board:
        deploying.remove(board.port, Quiet())
    left = {name: data for name, data in board.files().items() if data is not None}
    assert left == user_files


def cut_off(board):
    """Deploy to a board whose power is cut meanwhile; return whether it was."""
    try:
        deploying.deploy(board.port, "main.py", Quiet())
    except LinkLost as error:
        return "still boots" in str(error) or pytest.fail(str(error))
    return False


@pytest.mark.timeout(campaign.of(900, 180))
def test_a_power_cut_at_any_write_leaves_a_board_that_boots(tmp_path, use, user_files):
    """From the first write to the last; the exchange itself is a dozen of them."""
    base = with_version_1(tmp_path, "lfs", use, user_files)
    use(2)
    cuts = 0
    step = campaign.of(1, 4)
    for write in itertools.count(step, step):
        folder = tmp_path / str(write)
        with copy_of(base, folder, cut_write=write) as board:
            if not cut_off(board):
                break
        cuts += 1
        check_boots(folder, "lfs", user_files)
        if cuts % 2 == 0:
            goes_on = cuts % 4
            check = check_goes_on_and_undoes if goes_on else check_removes
            check(folder, "lfs", user_files)
    assert cuts * step > 40


@pytest.mark.parametrize("way", ["files", "bytecode"])
def test_a_first_deploy_goes_on_in_the_way_in_which_it_was_cut_off(tmp_path, use, way):
    ReplBoard(tmp_path, "lfs", blocks=128).put({"main.py": tiny_agent.APP})
    use(1)
    wishes = deploying.Wishes(way=way)
    with ReplBoard(tmp_path, "lfs", blocks=128, cut_write=30) as board, pytest.raises(LinkLost):
        deploying.deploy(board.port, "main.py", Quiet(), wishes)
    with ReplBoard(tmp_path, "lfs", blocks=128) as board:
        found = deploying.plan(board.port, Quiet())
    assert (found.installed, found.choice.way) == (way, way)
    assert found.copies_files


@pytest.mark.timeout(120)
def test_a_power_cut_during_removal_leaves_a_board_that_boots(tmp_path, use, user_files):
    base = with_version_1(tmp_path, "lfs", use, user_files)
    cuts = 0
    for write in itertools.count(1, 5):
        folder = tmp_path / str(write)
        with copy_of(base, folder, cut_write=write) as board:
            try:
                deploying.remove(board.port, Quiet())
            except LinkLost:
                cuts += 1
            else:
                break
        check_boots(folder, "lfs", user_files)
        check_removes(folder, "lfs", user_files)
    assert cuts > 2


@pytest.mark.timeout(120)
def test_a_line_cut_after_any_byte_leaves_a_board_that_boots(tmp_path, use, user_files, kind):
    base = with_version_1(tmp_path, kind, use, user_files)
    use(2)
    with copy_of(base, tmp_path / "whole") as board:
        deploying.deploy(board.port, "main.py", Quiet())
        whole = board.received
    for cut in range(whole // 9, whole, whole // 8):
        folder = tmp_path / str(cut)
        with copy_of(base, folder, cut_after=cut) as board:
            with pytest.raises((LinkLost, DeployError)) as caught:
                deploying.deploy(board.port, "main.py", Quiet())
            assert len(str(caught.value).splitlines()) == 1
        check_boots(folder, kind, user_files)
    check_goes_on_and_undoes(folder, kind, user_files)


PROGRAM = """
import sys
sys.path.insert(0, {support!r})
from quiet import Quiet
from boardwarden.deploy import compiler, deploying
deploying.await_hello = lambda address, talk: None
import pathlib
compiler.board_files = lambda: (pathlib.Path({folder!r}),) * 3
deploying.deploy({port!r}, "main.py", Quiet())
"""


@pytest.mark.timeout(120)
def test_a_host_killed_at_any_byte_does_not_hinder_the_next_deploy(
    tmp_path, use, user_files, versions
):
    """What half of a program the board has got does not matter to the next run."""
    base = with_version_1(tmp_path, "lfs", use, user_files)
    use(2)
    with copy_of(base, tmp_path / "killed") as board:
        for after in (300, 3000, 6000, 9000):
            words = {"support": str(SUPPORT), "folder": str(versions[2])}
            program = PROGRAM.format(port=board.port, **words)
            host = subprocess.Popen([sys.executable, "-c", program])
            board.at(after, lambda host=host: host.send_signal(signal.SIGKILL))
            assert host.wait(LIMIT_S) == -signal.SIGKILL
        deploying.deploy(board.port, "main.py", Quiet())
        board.wait_for(b"agent (2, 2)")
    check_goes_on_and_undoes(tmp_path / "killed", "lfs", user_files)


@pytest.mark.parametrize("when", ["comparing", "copying", "checking"])
def test_ctrl_c_leaves_the_board_as_it_was(tmp_path, use, user_files, when):
    board = with_version_1(tmp_path, "lfs", use, user_files)
    before = board.files()
    use(2)
    talk = Quiet(lambda name, done: name == when and done and os.kill(os.getpid(), signal.SIGINT))
    with board:
        with pytest.raises(KeyboardInterrupt):
            deploying.deploy(board.port, "main.py", talk)
        board.wait_for(b"application runs")  # it is running again
    assert board.files() == before
    assert talk.said[-1] == "Stopped. The board is as it was."
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
