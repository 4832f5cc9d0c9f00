"""Leases: granted only when they are covered, and all of them end."""

from harness import no_heap, raises
from policy_rig import Desk, Shown
from warden.errors import Denied

MEMORY, STORAGE, CPU_TIME, BANDWIDTH = range(4)
LOW, NORMAL, HIGH, CRITICAL = range(4)


def _denied(desk, *args, **kwargs):
    return raises(Denied, desk.ledger.allocate, *args, **kwargs)


def test_what_was_granted_is_not_granted_again():
    desk = Desk()
    first = desk.ledger.allocate(MEMORY, 60_000)
    error = _denied(desk, MEMORY, 60_000)
    assert (error.reason, error.available, error.blockers) == ("memory", 40_000, (first.id,))
    assert error.retry_after_ms == 60_000
    assert desk.ledger.allocate(MEMORY, 40_000).amount == 40_000


def test_what_the_holder_has_taken_is_not_counted_twice():
    desk = Desk()
    lease = desk.ledger.allocate(MEMORY, 60_000)
    lease.commit()
    desk.supply.amounts[0] -= 60_000
    assert desk.ledger.outstanding(MEMORY) == 0
    assert desk.ledger.allocate(MEMORY, 40_000)


def test_garbage_is_collected_before_a_refusal():
    desk = Desk()
    desk.supply.garbage = 50_000
    assert desk.ledger.allocate(MEMORY, 140_000)
    assert desk.supply.collections == 1
    desk.ledger.allocate(MEMORY, 5_000)
    assert desk.supply.collections == 1


def test_a_backed_lease_has_its_memory():
    desk = Desk()
    lease = desk.ledger.allocate(MEMORY, 1000, backed=True)
    lease.buffer[999] = 7
    assert len(lease.buffer) == 1000
    assert desk.ledger.outstanding(MEMORY) == 0
    lease.release()
    assert lease.buffer is None


def test_a_backed_lease_must_fit_the_largest_block():
    desk = Desk()
    desk.supply.largest = 500
    error = _denied(desk, MEMORY, 1000, backed=True)
    assert (error.reason, error.available) == ("fragmented", 500)
    assert desk.ledger.active() == []
    assert desk.ledger.allocate(MEMORY, 1000)


def test_garbage_is_collected_before_a_block_is_called_too_large():
    desk = Desk()
    desk.supply.largest = 500
    desk.supply.largest_clean = 2000
    assert len(desk.ledger.allocate(MEMORY, 1000, backed=True).buffer) == 1000
    assert desk.supply.collections == 1
    desk.ledger.allocate(MEMORY, 2000, backed=True)
    assert desk.supply.collections == 1


def test_leases_end_by_release_and_twice_is_harmless():
    desk = Desk()
    with desk.ledger.allocate(MEMORY, 100_000) as lease:
        assert lease.active
    assert not lease.active
    lease.release()
    assert desk.ledger.allocate(MEMORY, 100_000)
    assert desk.events == [("lease", lease.id, "released")]


def test_leases_expire_with_nobody_asking():
    desk = Desk()
    lease = desk.ledger.allocate(MEMORY, 100_000, ttl_ms=1500)
    desk.pass_ms(1499)
    assert lease.active
    desk.pass_ms(1)
    assert not lease.active
    assert desk.events[-1] == ("lease", lease.id, "expired")


def test_an_expired_lease_stands_in_nobodys_way_even_if_time_was_not_told():
    desk = Desk()
    desk.ledger.allocate(MEMORY, 100_000, ttl_ms=1500)
    desk.ticks.pass_ms(1500)
    assert desk.ledger.allocate(MEMORY, 100_000)


def test_a_lease_without_end_stays():
    desk = Desk()
    lease = desk.ledger.allocate(MEMORY, 1, ttl_ms=None)
    for _ in range(20):
        desk.pass_ms(400_000_000)
    assert lease.active


def test_expiry_survives_the_wrap_of_the_ticks():
    desk = Desk()
    for _ in range(2):  # the clock is advanced at least once in half a wrap
        desk.pass_ms((1 << 29) - 500)
    lease = desk.ledger.allocate(MEMORY, 1, ttl_ms=5000)
    desk.pass_ms(4999)
    assert lease.active
    desk.pass_ms(1)
    assert not lease.active


def test_a_higher_priority_takes_what_its_holder_agreed_to_give():
    desk = Desk()
    told = []
    old = desk.ledger.allocate(MEMORY, 30_000, priority=LOW, on_preempt=told.append)
    new = desk.ledger.allocate(MEMORY, 30_000, priority=LOW, on_preempt=told.append)
    kept = desk.ledger.allocate(MEMORY, 30_000, priority=LOW)
    assert _denied(desk, MEMORY, 30_000, priority=LOW).reason == "memory"
    assert told == []
    desk.ledger.allocate(MEMORY, 40_000, priority=HIGH)
    assert told == [new]  # the newest first, and no more than is needed
    assert old.active and kept.active and not new.active


def test_nobody_is_preempted_for_what_cannot_be_granted_even_so():
    desk = Desk()
    lease = desk.ledger.allocate(MEMORY, 60_000, priority=LOW, on_preempt=lambda lease: None)
    desk.ledger.allocate(MEMORY, 30_000, priority=LOW)
    assert _denied(desk, MEMORY, 70_001, priority=HIGH).reason == "memory"
    assert lease.active
    assert desk.ledger.allocate(MEMORY, 70_000, priority=HIGH)
    assert not lease.active


def test_nobody_is_preempted_for_what_has_gone_meanwhile():
    desk = Desk()
    lease = desk.ledger.allocate(MEMORY, 60_000, priority=LOW, on_preempt=lambda lease: None)
    desk.supply.amounts[0] = 20_000
    assert _denied(desk, MEMORY, 30_000, priority=HIGH).available == 0
    assert lease.active


def test_one_who_did_not_agree_keeps_it():
    desk = Desk()
    desk.ledger.allocate(MEMORY, 90_000, priority=LOW)
    assert _denied(desk, MEMORY, 90_000, priority=CRITICAL).reason == "memory"


def test_a_holder_that_fails_when_told_is_reported_and_stops_nobody():
    desk = Desk()

    def fail(lease):
        raise ValueError("on purpose")

    old = desk.ledger.allocate(MEMORY, 90_000, priority=LOW, on_preempt=fail)
    assert desk.ledger.allocate(MEMORY, 90_000, priority=HIGH)
    assert ("callback_failed", old.id, "ValueError") in desk.events


def test_the_table_has_a_fixed_size():
    desk = Desk()
    leases = [desk.ledger.allocate(MEMORY, 1) for _ in range(16)]
    error = _denied(desk, MEMORY, 1)
    assert error.reason == "table"
    assert len(error.blockers) == 16
    leases[3].release()
    assert desk.ledger.allocate(MEMORY, 1).id == 17


def test_storage_is_counted_by_mount():
    desk = Desk()
    desk.ledger.allocate(STORAGE, 900_000)
    assert _denied(desk, STORAGE, 200_000).available == 100_000
    assert desk.ledger.allocate(STORAGE, 200_000, mount="/sd")
    assert _denied(desk, STORAGE, 1, mount="/none").available == 0


def test_only_storage_has_mounts():
    desk = Desk()
    desk.ledger.allocate(MEMORY, 60_000, mount="/")
    assert _denied(desk, MEMORY, 60_000, mount="/sd").available == 40_000


def test_cpu_time_and_bandwidth_are_granted_up_to_what_is_there():
    desk = Desk()
    desk.ledger.allocate(CPU_TIME, 600)
    assert _denied(desk, CPU_TIME, 301).available == 300
    desk.ledger.allocate(BANDWIDTH, 50_000)
    assert _denied(desk, BANDWIDTH, 1).reason == "bandwidth"


def test_bandwidth_is_a_token_bucket():
    desk = Desk()
    lease = desk.ledger.allocate(BANDWIDTH, 1000)
    assert lease.take(1000) == 0
    wait = lease.take(500)
    assert 500 <= wait <= 501
    desk.ticks.pass_ms(wait)
    assert lease.take(500) == 0
    desk.ticks.pass_ms(60_000)
    assert lease.take(1000) == 0  # and no more than a second's worth was saved up
    assert lease.take(1) > 0
    for wrong in (1001, -1):
        raises(ValueError, lease.take, wrong)
    raises(ValueError, desk.ledger.allocate(MEMORY, 1).take, 1)


def test_wrong_amounts_are_refused_in_clear_words():
    desk = Desk()
    for wrong in (0, -1, 1 << 30, 1 << 80):
        assert "amount" in raises(ValueError, desk.ledger.allocate, MEMORY, wrong).args[0]
    for wrong in ("1", 1.5, None, True, [1]):
        raises(TypeError, desk.ledger.allocate, MEMORY, wrong)
    for kind in (-1, 4, 99):
        raises(ValueError, desk.ledger.allocate, kind, 1)
    raises(ValueError, desk.ledger.allocate, MEMORY, 1, priority=4)
    raises(ValueError, desk.ledger.allocate, MEMORY, 1, ttl_ms=0)
    raises(TypeError, desk.ledger.allocate, MEMORY, 1, owner=5)
    raises(ValueError, desk.ledger.allocate, STORAGE, 1, backed=True)
    assert desk.ledger.active() == []


def test_an_unknown_id_is_a_clear_error():
    desk = Desk()
    lease = desk.ledger.allocate(MEMORY, 1)
    assert desk.ledger.find(lease.id) is lease
    raises(KeyError, desk.ledger.find, 77)
    lease.release()
    raises(KeyError, desk.ledger.find, lease.id)


def test_time_that_ends_nothing_allocates_nothing():
    desk = Desk()
    for _ in range(16):
        desk.ledger.allocate(MEMORY, 1)
    with no_heap():
        desk.ledger.expire()


def test_no_attribute_comes_after_others_can_see_a_lease_on_cpython():
    desk = Desk()
    table = desk.ledger.table = Shown(desk.ledger.table)
    allocate = desk.ledger.allocate
    options = {"owner": "x", "priority": LOW, "on_preempt": lambda lease: None}
    leases = [allocate(MEMORY, 10, backed=True, **options), allocate(STORAGE, 10, mount="/sd")]
    leases.append(allocate(BANDWIDTH, 10, session=desk.sessions.open("s")))
    leases[2].take(5)
    leases.append(allocate(MEMORY, 90_000, **options))
    allocate(MEMORY, 50_000, priority=HIGH).commit()
    for lease in leases:
        lease.release()
    desk.pass_ms(60_000)
    assert desk.ledger.active() == []
    assert table.grown() == [set()] * 5
