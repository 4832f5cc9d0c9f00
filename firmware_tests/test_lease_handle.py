"""A lease that is dropped: given back where the port has `weakref`, which CPython stands in for."""

import gc

from policy_rig import PolicyRig
from virtual_board import Rig
from warden.policy.policy import Policy


def _handle(lease):
    from warden.policy.lease_handle import LeaseHandle

    return LeaseHandle(lease)


def test_a_dropped_lease_is_given_back_on_cpython():
    rig = PolicyRig()
    lease = _handle(rig.allocate(0, 100_000))
    assert lease.amount == 100_000 and lease.active
    with lease as inner:
        assert inner is lease
    assert not lease.active
    lease = _handle(rig.allocate(0, 100_000))
    assert lease == rig.leases.all()[0] and hash(lease)
    gc.collect()
    rig.pass_ms(1)
    assert len(rig.leases.all()) == 1
    del lease
    gc.collect()
    rig.pass_ms(1)
    assert rig.leases.all() == []
    assert rig.posted[-1] == ("lease", 2, "dropped")


def test_dropping_an_ended_lease_ends_no_other_on_cpython():
    rig = PolicyRig()
    lease = _handle(rig.allocate(0, 10))
    lease.release()
    other = rig.allocate(0, 10)
    del lease
    gc.collect()
    rig.pass_ms(1)
    assert rig.leases.all() == [other]


def test_dropping_a_lease_needs_no_lock_and_is_handled_at_once_on_cpython():
    rig = PolicyRig()
    lease = _handle(rig.allocate(0, 10))
    Policy.end_due(rig)
    rig.clock.poll_now = False
    with rig.lock:  # garbage may be collected anywhere
        del lease
        gc.collect()
    assert rig.clock.poll_now and rig.clock.deadline_s <= rig.clock.s
    rig.pass_ms(1)
    assert rig.leases.all() == []


def test_dropping_a_lease_does_not_end_the_next_in_its_row_on_cpython():
    rig = PolicyRig()
    lease = _handle(rig.allocate(0, 10))
    del lease
    gc.collect()
    rig.leases.all()[0].release()
    other = rig.allocate(0, 10)
    rig.pass_ms(1)
    assert rig.leases.all() == [other]


def test_a_file_that_is_open_holds_its_lease_on_cpython():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rig = PolicyRig()
        file = _handle(rig.allocate(1, 1000, mount="/")).open(folder + "/x", "w")
        gc.collect()
        rig.pass_ms(1)
        assert len(rig.leases.all()) == 1
        file.close()
        del file
        gc.collect()
        rig.pass_ms(1)
        assert rig.leases.all() == []


def test_there_are_handles_where_weakref_is():
    try:
        from weakref import finalize
    except ImportError:
        finalize = None
    assert (Rig(link=None).policy.lease_handle is not None) == (finalize is not None)
