"""Images of ROMFS: read by MicroPython's own tool's rules, and nothing in them lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpremote.romfs import VfsRomWriter

from boardwarden.deploy import romfs
from boardwarden.deploy.romfs import UnknownImage

NAMES = st.text("abc.é", min_size=1, max_size=5)
TREES = st.recursive(
    st.dictionaries(NAMES, st.binary(max_size=200), max_size=4),
    lambda inside: st.dictionaries(NAMES, st.one_of(st.binary(max_size=20), inside), max_size=4),
    max_leaves=12,
)


@given(tree=TREES)
def test_an_image_has_what_was_put_into_it(tree):
    image = romfs.build(tree)
    assert romfs.parse(image) == tree
    assert romfs.parse(image + b"\xff" * 7) == tree  # the rest of a partition
    assert romfs.image_size(image[:12].ljust(12, b"\xff")) == len(image)
    assert len(image) % 2 == 0


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 20_000])
def test_images_are_those_of_mpremote(size):
    writer = VfsRomWriter()
    writer.mkfile("a.py", b"x" * size)
    writer.opendir("lib")
    writer.mkfile("b.mpy", b"M\x06")
    writer.closedir()
    tree = {"a.py": b"x" * size, "lib": {"b.mpy": b"M\x06"}}
    assert romfs.build(tree) == bytes(writer.finalise())


@given(tree=TREES, name=NAMES, data=st.binary(max_size=50))
def test_the_agents_files_come_and_go_and_others_stay(tree, name, data):
    lib = tree.get("lib")
    if lib is not None and (isinstance(lib, bytes) or "warden" in lib):
        return
    changed = romfs.with_files(tree, {f"lib/warden/{name}": data})
    assert romfs.files(changed) == {**romfs.files(tree), f"lib/warden/{name}": data}
    again = romfs.with_files(changed, {f"lib/warden/{name}": None})
    assert romfs.files(again) == romfs.files(tree)


def test_a_file_in_the_place_of_a_folder_is_not_replaced():
    for tree in ({"lib": b"x"}, {"lib": {"warden": b"x"}}, {"lib": {"warden": {"a": {}}}}):
        with pytest.raises(UnknownImage, match="as something else"):
            romfs.with_files(tree, {"lib/warden/a": b""})


def record(kind, payload):
    return bytes([kind, len(payload)]) + payload


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (record(1, b"padding"), "records of kind 1"),
        (record(5, b"\x01a" + record(3, b"\x01\x02")), "not in one piece"),
        (record(5, b"\x01a" + record(1, b"") + record(2, b"x")), "not in one piece"),
        (record(5, b"\x01a" + record(2, b"")) + b"\x85", "within a number"),
        (record(5, b"\x01a" + record(2, b"")) * 2, "a twice"),
        (b"\x05\x20abc", "longer than what it is in"),
    ],
)
def test_what_could_get_lost_is_refused(records, why):
    with pytest.raises(UnknownImage, match=why):
        romfs.parse(romfs.HEADER + bytes([len(records)]) + records)


def test_an_image_that_is_cut_short_is_refused():
    image = romfs.build({"a": b"x" * 100})
    with pytest.raises(UnknownImage, match="cut short"):
        romfs.parse(image[:-2])
    with pytest.raises(UnknownImage, match="no ROMFS image"):
        romfs.parse(b"\xff" * 100)
