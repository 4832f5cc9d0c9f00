"""A lease that is dropped: given back where the port has `weakref`, which CPython stands in for."""

import gc

import warden.held as held
from policy_rig import Desk


def _desk():
    desk = Desk()
    desk.ledger.watch_dropped()
    return desk


def test_a_dropped_lease_is_given_back_on_cpython():
    desk = _desk()
    lease = held.held(desk.ledger.allocate(0, 100_000))
    assert lease.amount == 100_000 and lease.active
    with lease:
        pass
    assert not lease.active
    lease = held.held(desk.ledger.allocate(0, 100_000))
    assert lease == desk.ledger.active()[0] and hash(lease)
    gc.collect()
    assert len(desk.ledger.active()) == 1
    del lease
    gc.collect()
    assert desk.ledger.active() == []
    assert desk.events[-1] == ("lease", 2, "dropped")


def test_one_that_has_ended_is_dropped_in_vain_on_cpython():
    desk = _desk()
    lease = held.held(desk.ledger.allocate(0, 10))
    lease.release()
    other = desk.ledger.allocate(0, 10)
    del lease
    gc.collect()
    desk.pass_ms(1)
    assert desk.ledger.active() == [other]


def test_a_file_that_is_open_holds_its_lease_on_cpython():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        desk = _desk()
        file = held.held(desk.ledger.allocate(1, 1000, mount="/")).open(folder + "/x", "w")
        gc.collect()
        assert len(desk.ledger.active()) == 1
        file.close()
        del file
        gc.collect()
        assert desk.ledger.active() == []


def test_without_weakref_the_lease_itself_is_held_on_micropython():
    try:
        import weakref  # noqa: F401
    except ImportError:
        desk = Desk()
        lease = desk.ledger.allocate(0, 100)
        assert held.held(lease) is lease
