"""Leases: granted only when they are covered, and all of them end."""

from harness import no_heap, raises
from policy_rig import PolicyRig, WatchedRows
from warden.errors import Denied
from warden.requests import find_entry

MEMORY, STORAGE, CPU_TIME, BANDWIDTH = range(4)
LOW, NORMAL, HIGH, CRITICAL = range(4)


def _denied(rig, *args, **kwargs):
    return raises(Denied, rig.allocate, *args, **kwargs)


def test_granted_memory_is_not_granted_twice():
    rig = PolicyRig()
    first = rig.allocate(MEMORY, 60_000)
    error = _denied(rig, MEMORY, 60_000)
    assert (error.reason, error.available, error.blockers) == ("memory", 40_000, (first.id,))
    assert error.retry_after_ms == 60_000
    assert rig.allocate(MEMORY, 40_000).amount == 40_000


def test_committed_memory_is_not_counted_twice():
    rig = PolicyRig()
    lease = rig.allocate(MEMORY, 60_000)
    lease.commit()
    rig.supply.amounts[0] -= 60_000
    assert rig.leases.outstanding(MEMORY) == 0
    assert rig.allocate(MEMORY, 40_000)


def test_garbage_is_collected_before_a_refusal():
    rig = PolicyRig()
    rig.supply.garbage = 50_000
    assert rig.allocate(MEMORY, 140_000)
    assert rig.supply.collections == 1
    rig.allocate(MEMORY, 5_000)
    assert rig.supply.collections == 1


def test_a_backed_lease_has_its_memory():
    rig = PolicyRig()
    lease = rig.allocate(MEMORY, 1000, backed=True)
    lease.buffer[999] = 7
    assert len(lease.buffer) == 1000
    assert rig.leases.outstanding(MEMORY) == 0
    lease.release()
    assert lease.buffer is None


def test_a_lease_of_memory_must_fit_the_largest_block():
    rig = PolicyRig()
    rig.supply.largest = 500
    for backed in (True, False):
        error = _denied(rig, MEMORY, 501, backed=backed)
        assert (error.reason, error.available) == ("fragmented", 500)
        assert rig.leases.all() == []
        rig.allocate(MEMORY, 500, backed=backed).release()
    rig.supply.largest = None  # not known
    assert rig.allocate(MEMORY, 501)


def test_garbage_is_collected_before_a_block_is_called_too_large():
    rig = PolicyRig()
    rig.supply.largest = 500
    rig.supply.largest_clean = 2000
    assert len(rig.allocate(MEMORY, 1000, backed=True).buffer) == 1000
    assert rig.supply.collections == 1
    rig.allocate(MEMORY, 2000)
    assert rig.supply.collections == 1


def test_leases_end_by_release_and_twice_is_harmless():
    rig = PolicyRig()
    with rig.allocate(MEMORY, 100_000) as lease:
        assert lease.active
    assert not lease.active
    lease.release()
    assert rig.allocate(MEMORY, 100_000)
    assert rig.posted == [("lease", lease.id, "released")]


def test_leases_expire_with_nobody_asking():
    rig = PolicyRig()
    lease = rig.allocate(MEMORY, 100_000, ttl_ms=1500)
    rig.pass_ms(1499)
    assert lease.active
    rig.pass_ms(1)
    assert not lease.active
    assert rig.posted[-1] == ("lease", lease.id, "expired")


def test_an_expired_lease_blocks_nobody_even_before_the_next_poll():
    rig = PolicyRig()
    rig.allocate(MEMORY, 100_000, ttl_ms=1500)
    rig.ticks.pass_ms(1500)
    assert rig.allocate(MEMORY, 100_000)


def test_a_lease_without_end_stays():
    rig = PolicyRig()
    lease = rig.allocate(MEMORY, 1, ttl_ms=None)
    for _ in range(20):
        rig.pass_ms(400_000_000)
    assert lease.active


def test_expiry_survives_the_wrap_of_the_ticks():
    rig = PolicyRig()
    for _ in range(2):  # the clock is advanced at least once in half a wrap
        rig.pass_ms((1 << 29) - 500)
    lease = rig.allocate(MEMORY, 1, ttl_ms=5000)
    rig.pass_ms(4999)
    assert lease.active
    rig.pass_ms(1)
    assert not lease.active


def test_a_higher_priority_takes_what_its_holder_agreed_to_give():
    rig = PolicyRig()
    heard = []
    old = rig.allocate(MEMORY, 30_000, priority=LOW, on_preempt=heard.append)
    new = rig.allocate(MEMORY, 30_000, priority=LOW, on_preempt=heard.append)
    kept = rig.allocate(MEMORY, 30_000, priority=LOW)
    assert _denied(rig, MEMORY, 30_000, priority=LOW).reason == "memory"
    assert heard == []
    rig.allocate(MEMORY, 40_000, priority=HIGH)
    assert heard == [new]  # the newest first, and no more than is needed
    assert old.active and kept.active and not new.active


def test_nobody_is_preempted_where_it_would_not_be_enough():
    rig = PolicyRig()
    lease = rig.allocate(MEMORY, 60_000, priority=LOW, on_preempt=lambda lease: None)
    rig.allocate(MEMORY, 30_000, priority=LOW)
    assert _denied(rig, MEMORY, 70_001, priority=HIGH).reason == "memory"
    assert lease.active
    assert rig.allocate(MEMORY, 70_000, priority=HIGH)
    assert not lease.active


def test_nobody_is_preempted_when_free_memory_has_shrunk_meanwhile():
    rig = PolicyRig()
    lease = rig.allocate(MEMORY, 60_000, priority=LOW, on_preempt=lambda lease: None)
    rig.supply.amounts[0] = 20_000
    assert _denied(rig, MEMORY, 30_000, priority=HIGH).available == 0
    assert lease.active


def test_a_lease_without_on_preempt_is_never_preempted():
    rig = PolicyRig()
    rig.allocate(MEMORY, 90_000, priority=LOW)
    assert _denied(rig, MEMORY, 90_000, priority=CRITICAL).reason == "memory"


def test_a_failing_on_preempt_is_reported_and_the_grant_goes_on():
    rig = PolicyRig()

    def fail(lease):
        raise ValueError("on purpose")

    old = rig.allocate(MEMORY, 90_000, priority=LOW, on_preempt=fail)
    assert rig.allocate(MEMORY, 90_000, priority=HIGH)
    assert ("callback_failed", old.id, "ValueError") in rig.posted


def test_a_holder_that_takes_it_again_at_once_does_not_hold_up_the_board():
    rig = PolicyRig()
    taken = []

    def take_again(lease=None):
        assert len(taken) < 100
        taken.append(rig.allocate(MEMORY, 90_000, priority=LOW, on_preempt=take_again))

    take_again()
    error = _denied(rig, MEMORY, 90_000, priority=HIGH)
    assert (error.reason, error.blockers) == ("memory", (taken[-1].id,))
    assert rig.leases.all() == taken[-1:]


def test_the_table_has_a_fixed_size():
    rig = PolicyRig()
    leases = [rig.allocate(MEMORY, 1) for _ in range(16)]
    error = _denied(rig, MEMORY, 1)
    assert error.reason == "table"
    assert len(error.blockers) == 16
    leases[3].release()
    assert rig.allocate(MEMORY, 1).id == 17


def test_storage_is_counted_by_mount():
    rig = PolicyRig()
    rig.allocate(STORAGE, 900_000)
    assert _denied(rig, STORAGE, 200_000).available == 100_000
    assert rig.allocate(STORAGE, 200_000, mount="/sd")
    assert _denied(rig, STORAGE, 1, mount="/none").available == 0


def test_only_storage_has_mounts():
    rig = PolicyRig()
    rig.allocate(MEMORY, 60_000, mount="/")
    assert _denied(rig, MEMORY, 60_000, mount="/sd").available == 40_000


def test_cpu_time_and_bandwidth_are_granted_up_to_what_is_there():
    rig = PolicyRig()
    rig.allocate(CPU_TIME, 600)
    assert _denied(rig, CPU_TIME, 301).available == 300
    rig.allocate(BANDWIDTH, 50_000)
    assert _denied(rig, BANDWIDTH, 1).reason == "bandwidth"


def test_bandwidth_is_a_token_bucket():
    rig = PolicyRig()
    lease = rig.allocate(BANDWIDTH, 1000)
    assert lease.take(1000) == 0
    wait = lease.take(500)
    assert 500 <= wait <= 501
    rig.ticks.pass_ms(wait)
    assert lease.take(500) == 0
    rig.ticks.pass_ms(60_000)
    assert lease.take(1000) == 0  # and no more than a second's worth was saved up
    assert lease.take(1) > 0
    for wrong in (1001, -1):
        raises(ValueError, lease.take, wrong)
    raises(ValueError, rig.allocate(MEMORY, 1).take, 1)


def test_frequent_requests_for_bandwidth_are_granted():
    rig = PolicyRig()
    lease = rig.allocate(BANDWIDTH, 100)
    assert lease.take(100) == 0
    got = 0
    for _ in range(1000):
        rig.ticks.pass_ms(5)
        if not lease.take(1):
            got += 1
    assert got == 500


def test_wrong_amounts_are_refused_in_clear_words():
    rig = PolicyRig()
    for wrong in (0, -1, 1 << 30, 1 << 80):
        assert "amount" in raises(ValueError, rig.allocate, MEMORY, wrong).args[0]
    for wrong in ("1", 1.5, None, True, [1]):
        raises(TypeError, rig.allocate, MEMORY, wrong)
    for kind in (-1, 4, 99):
        raises(ValueError, rig.allocate, kind, 1)
    raises(ValueError, rig.allocate, MEMORY, 1, priority=4)
    raises(ValueError, rig.allocate, MEMORY, 1, ttl_ms=0)
    raises(TypeError, rig.allocate, MEMORY, 1, owner=5)
    raises(TypeError, rig.allocate, STORAGE, 1, mount=b"/")
    raises(ValueError, rig.allocate, STORAGE, 1, backed=True)
    assert rig.leases.all() == []


def test_each_lease_has_the_owner_that_it_was_given():
    rig = PolicyRig()
    long = "x" * 30
    owners = []
    for owner in ("a", "b", "b", "", long, long, "a"):
        owners.append(rig.allocate(MEMORY, 8, owner).owner)
        raises(ValueError, rig.allocate, MEMORY, 8, "a\x1b")
    assert owners == ["a", "b", "b", "", "x" * 24, "x" * 24, "a"]


def test_an_unknown_id_is_a_clear_error():
    rig = PolicyRig()
    lease = rig.allocate(MEMORY, 1)
    assert find_entry(rig.leases, lease.id) is lease
    raises(KeyError, find_entry, rig.leases, 77)
    lease.release()
    raises(KeyError, find_entry, rig.leases, lease.id)


def test_a_poll_that_ends_nothing_allocates_nothing():
    rig = PolicyRig()
    for _ in range(16):
        rig.allocate(MEMORY, 1)
    with no_heap():
        rig.leases.run_due()


def test_whatever_is_raised_while_it_is_granted_leaves_nothing():
    for error in (KeyboardInterrupt, ValueError):
        for after in range(8):
            rig = PolicyRig()
            session = rig.sessions.open("s")
            old = rig.allocate(MEMORY, 90_000, priority=LOW, on_preempt=lambda lease: None)
            calls = [after]

            def failing(*args, calls=calls, error=error):
                calls[0] -= 1
                if calls[0] < 0:
                    raise error
                return 100_000

            supply, advance, post = rig.supply, rig.clock.advance, rig.events.add
            supply.available = rig.clock.advance = rig.events.add = failing
            options = {"priority": HIGH, "session": session, "backed": True}
            lease = None
            try:
                lease = rig.allocate(MEMORY, 20_000, **options)
            except (error, Denied):
                pass
            rig.clock.advance, rig.events.add = advance, post
            del supply.available
            assert not rig.lock.taken
            expected = [each for each in (old, lease) if each is not None and each.active]
            assert rig.leases.all() == expected, after
            session.close()
            old.release()
            assert rig.leases.all() == [], after
            assert rig.allocate(MEMORY, 100_000).active


def test_with_no_memory_left_the_refusal_is_denied_and_leases_end_on_micropython():
    rig = PolicyRig()
    session = rig.sessions.open("s")
    lease = rig.allocate(MEMORY, 10, session=session)
    rig.events.add, rig.clock.advance = _post_nothing, _pass_no_time  # the rig's take memory
    refusals = []
    for backed in (False, True):
        denied = None
        with no_heap():
            try:
                rig.leases.allocate(MEMORY, 1000, "x", NORMAL, 5000, session, backed)
            except Denied as error:
                denied = error
        refusals.append(denied.reason)
    assert refusals == ["memory", "memory"]
    assert rig.leases.all() == [lease]
    with no_heap():
        lease.release()
    assert rig.leases.all() == []


def _post_nothing(kind, subject=None, detail=None, value=None):
    """Stand for the ring of events."""


def _pass_no_time():
    """Stand for the clock."""


def test_no_attribute_comes_after_others_can_see_a_lease_on_cpython():
    rig = PolicyRig()
    rows = rig.leases.rows = WatchedRows(rig.leases.rows)
    allocate = rig.allocate
    options = {"owner": "x", "priority": LOW, "on_preempt": lambda lease: None}
    leases = [allocate(MEMORY, 10, backed=True, **options), allocate(STORAGE, 10, mount="/sd")]
    leases.append(allocate(BANDWIDTH, 10, session=rig.sessions.open("s")))
    leases[2].take(5)
    leases.append(allocate(MEMORY, 90_000, **options))
    allocate(MEMORY, 50_000, priority=HIGH).commit()
    for lease in leases:
        lease.release()
    rig.pass_ms(60_000)
    assert rig.leases.all() == []
    assert rows.grown() == [set()] * 5
