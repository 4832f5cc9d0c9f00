"""The start lines in a user's file: added, found and taken out to the byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boardwarden.deploy import starting

TEXTS = st.one_of(st.none(), st.binary(max_size=60), st.text(max_size=60).map(str.encode))


@given(text=TEXTS, uses_asyncio=st.booleans())
def test_removing_the_start_lines_restores_the_file_to_the_byte(text, uses_asyncio):
    added = starting.with_start(text, uses_asyncio)
    assert starting.starts(added)
    assert starting.without_start(added) == text


@given(text=st.binary(max_size=60))
def test_a_file_without_start_lines_is_unchanged(text):
    assert starting.without_start(text) == text


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


def test_an_error_in_the_start_lines_does_not_stop_the_application():
    """Whatever import and start raise, what follows runs."""
    text = starting.with_start(b"ran = True\n", False).decode()
    names = {"print": lambda *words: None}
    exec(text, names)  # there is no `warden` on the host
    assert names["ran"]
