"""The start lines in a user's file: added, found and taken out to the byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quiet import Quiet

from boardwarden.deploy import starting

TEXTS = st.one_of(st.none(), st.binary(max_size=60), st.text(max_size=60).map(str.encode))


@given(text=TEXTS, uses_asyncio=st.booleans(), watching=st.booleans())
def test_removing_the_start_lines_restores_the_file_to_the_byte(text, uses_asyncio, watching):
    added = starting.with_start(text, uses_asyncio, watching)
    assert starting.starts(added)
    assert starting.without_start(added) == text


@given(text=st.binary(max_size=60))
def test_a_file_without_start_lines_is_unchanged(text):
    assert starting.without_start(text) == text


class Files:
    """Stands in for a board's files: in its root only."""

    class about:
        root = ""

    def __init__(self, files):
        self.files = files

    def read(self, path):
        return self.files.get(path[1:])

    def mentions(self, word):
        return word in self.files.get("main.py", b"")

    def make_folder(self, folder):
        assert folder == "/own"

    def replace(self, name, data):
        self.files[name] = data

    def remove(self, paths):
        for path in paths:
            del self.files[path[1:]]

    def remove_empty(self, folders):
        assert folders == ["/own"]


def carry_out(files, edits, count=9):
    for edit in edits[:count]:
        starting.carry_out(files, edit)


@given(text=st.one_of(st.binary(max_size=60), st.sampled_from([b"import asyncio\n"])))
def test_an_application_that_is_run_by_the_agent_comes_back_to_the_byte(text):
    for after, until in ((9, 9), (1, 9), (9, 1)):  # edits before the power is cut, both ways
        files = Files({"main.py": text, "boot.py": b"\r\n"})
        carry_out(files, starting.plan(files, "main.py", False, Quiet()), after)
        assert text in (files.files["main.py"], files.files.get("own/main.py"))
        assert (after == 9) == starting.starts(files.files["main.py"])
        carry_out(files, starting.find(files), until)
        carry_out(files, starting.find(files))
        assert files.files == {"main.py": text, "boot.py": b"\r\n"}


def test_a_main_that_somebody_put_there_since_is_not_lost_nor_is_the_older_one():
    files = Files({"main.py": b"old\n"})
    carry_out(files, starting.plan(files, "main.py", False, Quiet()))
    files.files["main.py"] = b"new\n"
    talk = Quiet()
    _, question = starting.show(files, "main.py", False, talk)
    assert "Replace own/main.py, which is there with something else?" in question
    edits = starting.find(files)
    carry_out(files, edits)
    assert files.files == {"main.py": b"new\n", "own/main.py": b"old\n"}
    assert "own/main.py stays" in edits[0].said


def test_where_the_agent_only_watches_or_starts_in_boot_it_runs_no_application():
    for name, watching in (("main.py", True), ("boot.py", False)):
        files = Files({"main.py": b"x\n"})
        talk = Quiet()
        carry_out(files, starting.plan(files, name, watching, talk))
        assert "own/main.py" not in files.files
        assert files.files["main.py"].endswith(b"x\n")
        assert any("is not kept then" in said for said in talk.said) == (name == "boot.py")


def test_a_file_made_by_deploy_is_not_deleted_once_edited():
    added = starting.with_start(None, False)
    assert starting.without_start(added + b"mine\n") == b"mine\n"
    assert starting.without_start(b"# first\n" + added) == b"# first\n"


def test_edited_start_lines_are_left_alone():
    added = starting.with_start(b"x\n", False)
    with pytest.raises(ValueError, match="were changed"):
        starting.without_start(added.replace(b"start()", b"start(link=False)"))


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        (b"import warden\nwarden.start()\n", True),
        (b"x = 1; warden.start(500)\n", True),
        (b"# warden.start()\n", False),
        (b"x = 1  # then warden.start()\n", False),
        (b"import warden\n", False),
    ],
)
def test_start_lines_and_calls_of_start_are_recognised(text, starts):
    assert starting.starts(text) == starts


@pytest.mark.parametrize(
    ("given", "watches"),
    [
        (b"", False),
        (b"protect=False", True),
        (b"link=warden.TcpServer(8765), protect=False", True),
        (b"protect=True", False),
        (b"\n    500,\n    protect=False,  # small\n", True),
        (b"protect=small", False),  # nobody knows
        (b")(", False),  # no Python
    ],
)
def test_whether_it_only_watches(given, watches):
    assert starting.watches(b"import warden\nwarden.start(" + given + b")\n") == watches


def test_an_error_in_the_start_lines_does_not_stop_the_application():
    """Whatever import and start raise, what follows runs."""
    text = starting.with_start(b"ran = True\n", False).decode()
    names = {"print": lambda *words: None}
    exec(text, names)  # there is no `warden` on the host
    assert names["ran"]
