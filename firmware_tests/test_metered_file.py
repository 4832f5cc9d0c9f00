# targets: unix frozen
"""A file cannot grow past its storage lease."""

import os
from array import array

import warden
from harness import raises
from warden.metered_file import MeteredFile


class FakeLease:
    """Stands in for a storage lease."""

    active = True
    used = 0

    def __init__(self, amount=10, mount="/"):
        self.amount = amount
        self.mount = mount


def _path(name="here"):
    return os.getcwd().rstrip("/") + "/" + name


def _size(name="here"):
    return os.stat(name)[6]


def test_it_takes_as_much_as_the_lease():
    lease = FakeLease()
    with MeteredFile(lease, "here", "w") as file:
        assert file.write("12345") == 5
        assert file.write("ä") in (1, 2)  # a character, of two bytes
        assert lease.used == 7
        assert raises(OSError, file.write, "1234").errno == 28
        assert file.write(b"123") == 3
        assert lease.used == 10
        assert raises(OSError, file.write, "x").errno == 28
        assert file.write("") == 0
    assert _size() == 10
    os.remove("here")


def test_what_an_array_writes_counts_in_bytes():
    samples = array("H", (1, 2, 3))
    lease = FakeLease(14)
    with MeteredFile(lease, "here", "wb") as file:
        assert file.write(samples) == 6
        assert file.write(memoryview(samples)[1:]) == 4
        assert lease.used == 10
        for data in (samples, memoryview(array("I", (1, 2)))):
            assert raises(OSError, file.write, data).errno == 28
        assert file.write(memoryview(bytearray(5))[:4]) == 4
        assert lease.used == 14
        assert file.write(array("H")) == 0
    assert _size() == 14
    os.remove("here")


def test_it_does_what_a_file_does():
    lease = FakeLease(100)
    with MeteredFile(lease, _path(), "wb") as file:
        file.write(b"one\ntwo\n")
        file.seek(0)
        file.write(b"three")  # over what was there: that counts, too
        print("xx", file=file)
        file.flush()
    assert lease.used == 16 and _size() == 8
    with MeteredFile(lease, "here", "r") as file:
        assert file.read(3) == "thr"
        assert file.readline() == "eexx\n"
        file.seek(0)
        assert list(file) == ["threexx\n"]
    assert lease.used == 16
    os.remove("here")


def test_a_lease_that_has_ended_takes_nothing():
    lease = FakeLease()
    with MeteredFile(lease, "here", "w") as file:
        file.write("1")
        lease.active = False
        assert raises(OSError, file.write, "1").errno == 28
    assert _size() == 1
    os.remove("here")


def test_only_on_its_mount():
    for mount, path in (
        ("/sd", "here"),
        ("/sd", _path()),
        ("/sd", "/sdcard/here"),
        ("/sd", "/sd/../here"),
        ("/", "../here"),
    ):
        raises(ValueError, MeteredFile, FakeLease(10, mount), path, "w")
    for mount in (os.getcwd(), os.getcwd() + "/"):
        MeteredFile(FakeLease(10, mount), "here", "w").close()
    assert os.listdir() == ["here"]
    os.remove("here")


def test_a_lease_of_the_board_opens_it():
    warden.start(link=False)
    try:
        with warden.allocate(warden.STORAGE, 10, owner="log") as lease:
            with lease.open("here", "w") as file:
                file.write("123")
                assert raises(OSError, file.write, "12345678").errno == 28
            assert lease.used == 3
        assert raises(OSError, lease.open("here", "w").write, "1").errno == 28
        memory = warden.allocate(warden.MEMORY, 10)
        raises(ValueError, memory.open, "here", "w")
    finally:
        warden.stop()
        os.remove("here")
