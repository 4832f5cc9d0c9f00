"""The agent in a board's ROMFS partition: nothing that others have in it gets lost.

The partition is a file; how it is read, erased and written is vfs.rom_ioctl() as stm32 has it.
"""

import itertools
import os
import signal

import pytest
import tiny_agent
from repl_board import ReplBoard

from boardwarden.deploy import compiler, deploying, programs, romfs
from boardwarden.deploy.deploying import Wishes
from boardwarden.errors import DeployError, LinkLost, PortMissing

pytestmark = pytest.mark.timeout(180)
ROM_BYTES = 32 * 1024
BLANK = b"\xff"
APP = tiny_agent.APP + b"import warden\nprint('from', warden.__file__)\n"
OTHERS = {
    "data.bin": bytes(range(256)) * 20,
    "lib": {"mine.py": b"print('mine')\n", "warden": {"mine.txt": b"mine too\n"}},
    "empty.txt": b"",
}


class Talk:
    """Answers questions, and keeps them and what is said."""

    def __init__(self, answer=True, at_step=lambda name, done: None):
        self.answer = answer
        self.asked = []
        self.said = []
        self._at_step = at_step

    def say(self, text):
        self.said.append(text)

    def step(self, name, done, total):
        self._at_step(name, done)

    def confirm(self, question):
        self.asked.append(question)
        return self.answer


@pytest.fixture(autouse=True)
def use(tmp_path, monkeypatch):
    """Have version 2 of a tiny agent deployed; returns a function that chooses another version."""
    monkeypatch.setattr(deploying, "await_hello", lambda address, reporter: None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def choose(version):
        folder = tiny_agent.write(tmp_path / f"agent{version}", version)
        monkeypatch.setattr(compiler, "board_files", lambda: (folder,) * 3)

    choose(2)
    return choose


@pytest.fixture
def make(tmp_path):
    """Returns a function that makes a board with an application and an image in its ROMFS."""

    def made(image=None, name="board", **options):
        folder = tmp_path / name
        folder.mkdir()
        board = ReplBoard(folder, rom_bytes=ROM_BYTES, **options)
        if image is not None:
            board.rom.write_bytes(image.ljust(ROM_BYTES, BLANK))
        return board

    return made


def tree_of(board):
    return romfs.parse(board.rom.read_bytes())


def names(board):
    return {name for name, data in board.files().items() if data is not None}


def lies_around():
    """Return the files that were left on this machine."""
    return list(os.listdir())


def test_a_blank_partition_is_used_if_the_user_agrees_and_blank_again_after_remove(make):
    board = make()
    board.put({"main.py": APP})
    with board:
        talk = Talk()
        plan = deploying.plan(board.port, talk)
        assert plan.choice.way == "romfs"
        assert plan.questions == ("Write the agent into the board's ROMFS partition?",)
        assert (plan.romfs_bytes, plan.romfs_image_bytes) == (ROM_BYTES, 0)
        assert plan.copies_bytes > 1000
        assert not talk.asked
        assert board.rom.read_bytes() == BLANK * ROM_BYTES
        deploying.deploy(board.port, "main.py", talk)
        assert talk.asked[0] == plan.questions[0]
        board.wait_for(b"from /rom/lib/warden/__init__.mpy")
        again = Talk()
        deploying.deploy(board.port, "main.py", again)
        assert not again.asked
        assert any("nothing to write" in said for said in again.said)
        assert names(board) == {"main.py", "own/main.py"}
        deploying.remove(board.port, Talk())
    assert board.rom.read_bytes() == BLANK * ROM_BYTES
    assert board.files()["main.py"] == APP


def test_what_others_have_in_it_stays(make, use):
    image = romfs.build(OTHERS)
    board = make(image)
    before = romfs.files(OTHERS)
    use(1)
    with board:
        talk = Talk()
        deploying.deploy(board.port, "main.py", talk)
        assert "beside 4 files that stay" in talk.asked[0]
        board.wait_for(b"started 1 ")
        old = romfs.files(tree_of(board))
        assert before.items() <= old.items()
        assert "lib/warden/only_in_1_plain.mpy" in old
        use(2)
        deploying.deploy(board.port, "", Talk())
        board.wait_for(b"started 2 ")
        new = romfs.files(tree_of(board))
        assert before.items() <= new.items()
        assert "lib/warden/only_in_2_plain.mpy" in new
        assert "lib/warden/only_in_1_plain.mpy" not in new
        deploying.remove(board.port, Talk())
    assert tree_of(board) == OTHERS
    assert board.rom.read_bytes()[: len(image)] == image
    assert not lies_around()


def test_other_files_in_the_agents_folder_keep_it_from_the_file_system(make):
    """MicroPython takes the first folder of that name, and /rom/lib comes before lib."""
    board = make(romfs.build(OTHERS))
    with board:
        with pytest.raises(DeployError, match=r"which has other files, would be imported instead"):
            deploying.deploy(board.port, "", Talk(), Wishes("files"))
        with pytest.raises(DeployError, match="nothing was done"):
            deploying.deploy(board.port, "", Talk(answer=False))
    assert tree_of(board) == OTHERS


def test_the_user_may_say_no_or_ask_for_files(make):
    others = {"data.bin": b"x", "lib": {"mine.py": b""}}
    board = make(romfs.build(others))
    before = board.rom.read_bytes()
    with board:
        talk = Talk(answer=False)
        done = deploying.deploy(board.port, "", talk)
        assert (done.choice.way, len(talk.asked)) == ("files", 1)
        assert board.rom.read_bytes() == before
        # It stays where it is, unless it is asked for elsewhere.
        assert deploying.deploy(board.port, "", Talk()).choice.way == "files"
        talk = Talk()
        assert deploying.deploy(board.port, "", talk, Wishes("romfs")).choice.way == "romfs"
        assert not talk.asked
        assert not names(board)
        assert deploying.deploy(board.port, "", Talk()).choice.way == "romfs"
        deploying.deploy(board.port, "", Talk(), Wishes("files"))
        assert "lib/warden/decide.mpy" in names(board)
    assert tree_of(board) == others


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (b"\xd2\xcd\x31\x04\x01\x02xx", "records of kind 1"),
        (b"somebody's data", "no ROMFS image"),
        (romfs.build({"big": bytes(ROM_BYTES - 1000)}), "with the agent it takes .* has 32 KB"),
        (romfs.build({"lib": b"a file"}), "it has lib as something else"),
        (b"\xd2\xcd\x31\x87\xff\x7f", "longer than the partition"),
    ],
    ids=["strange-record", "other-data", "full", "a-file-for-a-folder", "too-long"],
)
def test_what_cannot_be_merged_stays(make, image, why):
    board = make(image)
    before = board.rom.read_bytes()
    with board:
        with pytest.raises(DeployError, match=rf"cannot be used: .*{why}.*as it was\."):
            deploying.deploy(board.port, "", Talk(), Wishes("romfs"))
        plan = deploying.plan(board.port, Talk())
        assert plan.choice.way == "files"
        talk = Talk()
        deploying.deploy(board.port, "", talk)
        assert not talk.asked
        assert any("stays as it is: " in said for said in talk.said)
        deploying.remove(board.port, Talk())
    assert board.rom.read_bytes() == before


def test_a_board_without_a_partition(tmp_path):
    with (
        ReplBoard(tmp_path) as board,
        pytest.raises(DeployError, match="firmware has no ROMFS partition"),
    ):
        deploying.deploy(board.port, "", Talk(), Wishes("romfs"))


def test_another_package_of_that_name_in_it(make):
    board = make(romfs.build({"lib": {"warden": {"__init__.py": b"# a game\n", "api.py": b""}}}))
    before = board.rom.read_bytes()
    with board, pytest.raises(DeployError, match=r"another package of that name.*as it was"):
        deploying.deploy(board.port, "", Talk())
    assert board.rom.read_bytes() == before


# --- what can go wrong ----------------------------------------------------------------------------


def test_power_cut_at_any_write_leaves_a_board_that_boots_and_a_copy_here(make):
    image = romfs.build(OTHERS)
    cuts = 0
    for write in itertools.count(1, 2):
        board = make(image, f"cut{write}", cut_write=write)
        talk = Talk()
        try:
            with board:
                deploying.deploy(board.port, "", talk)
        except (LinkLost, PortMissing) as error:  # as it wrote, or as it opened the port again
            told = str(error)
        else:
            break
        cuts += 1
        whole = board.rom.read_bytes()[: len(image)] == image
        if not whole:
            (copy,) = lies_around()
            assert f"mpremote romfs deploy {os.path.abspath(copy)}" in told
            with open(copy, "rb") as file:
                assert file.read() == image
            if board.rom.read_bytes().startswith(romfs.HEADER):
                assert romfs.files(OTHERS).items() <= romfs.files(tree_of(board)).items()
        for name in lies_around():
            os.remove(name)
    assert cuts >= 4, talk.said


@pytest.mark.parametrize("others", [{}, OTHERS])
def test_an_error_in_the_midst_brings_the_old_image_back(make, monkeypatch, others):
    image = romfs.build(others) if others else b""
    board = make(image)
    before = board.rom.read_bytes()
    right = programs.hash_rom
    wrong = iter(["return b'no'\n"])
    monkeypatch.setattr(programs, "hash_rom", lambda count: next(wrong, right(count)))
    with board, pytest.raises(DeployError, match=r"is not what is in it\. The board is as it was"):
        deploying.deploy(board.port, "", Talk())
    assert board.rom.read_bytes()[: len(image)] == image
    assert board.rom.read_bytes()[:3] == before[:3]
    assert not lies_around()


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_it_is_written(make, times):
    """A first one waits until the image is whole; a second one brings the old one back."""
    image = romfs.build(OTHERS)
    board = make(image)
    left = [times]

    def interrupt(name, done):
        while name == "writing the ROMFS" and left[0]:
            left[0] -= 1
            os.kill(os.getpid(), signal.SIGINT)

    talk = Talk(at_step=interrupt)
    with board, pytest.raises(KeyboardInterrupt):
        deploying.deploy(board.port, "main.py", talk)
    if times == 1:
        assert talk.said[-1] == (
            "Stopped. The agent is in the ROMFS partition; --remove takes it away."
        )
        assert romfs.files(OTHERS).items() <= romfs.files(tree_of(board)).items()
    else:
        assert talk.said[-1] == "Stopped. The board is as it was."
        assert board.rom.read_bytes()[: len(image)] == image
    assert not names(board)
    assert not lies_around()


def test_a_partition_that_cannot_be_written(make, monkeypatch):
    monkeypatch.setattr(programs, "erase_rom", lambda *given: "raise OSError(22)\n")
    board = make(romfs.build(OTHERS))
    before = board.rom.read_bytes()
    with board, pytest.raises(DeployError, match=r"cannot be written to \(error 22\): `--as files"):
        deploying.deploy(board.port, "", Talk())
    assert board.rom.read_bytes() == before
    assert not lies_around()


def test_a_folder_here_that_cannot_keep_the_copy(make, monkeypatch):
    board = make(romfs.build(OTHERS))
    before = board.rom.read_bytes()

    def refuse(path, data):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with board, pytest.raises(DeployError, match=r"is to keep what is in the board's ROMFS"):
        deploying.deploy(board.port, "", Talk())
    assert board.rom.read_bytes() == before
