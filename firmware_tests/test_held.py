"""A lease that is dropped: given back where the port has `weakref`, which CPython stands in for."""

import gc

import warden.held as held
from policy_rig import Desk


def test_a_dropped_lease_is_given_back_on_cpython():
    desk = Desk()
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


def test_a_file_that_is_open_holds_its_lease_on_cpython():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        desk = Desk()
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
