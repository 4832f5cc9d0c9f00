# targets: unix frozen qemu
"""The stored policy: saved when a host requests it, in force at the next start."""

import os

import warden
from harness import Skip, no_heap, raises
from metrics import METRICS
from rig import FakeLink, board, poll_now
from warden.crash_setup import make_crashes
from warden.policy.publish import find_stored_policy
from warden.policy_file import load as load_policy
from warden.policy_file import request as request_policy
from warden.running import running_agent, running_policy
from warden.setup import make_agent
from warden.stored_policy import stored_policy_of
from warden.wear import wear

_HOST = 77
START_MONITORING, SET_LIMITS, SET_THRESHOLD, KEEP, QUOTA, SET_QUOTA = 1, 9, 10, 14, 16, 17
TELL, SAVE, FORGET, INSIST = 0, 1, 2, 3
NOTHING, IN_FORCE, BROKEN, SET_ASIDE = 0, 1, 2, 3
OK, BAD_ARGUMENTS, DENIED = 0, 2, 4
CPU = 4


class Rig:
    """An agent with a host that has subscribed; its policy is stored in `directory`."""

    def __init__(self, directory="."):
        self.link = FakeLink()
        self.board = board()
        self.board.path = directory + "/warden"
        self.path = self.board.path + ".policy"
        self.agent = make_agent(self.board, 600_000, 1000, self.link, (2, 300_000, 100, 5000))
        self.policy = self.agent.policy
        self._next = 0
        self.link.receive(64, 1, 1, _HOST, None)
        poll_now(self.agent)

    def ask(self, operation, *arguments):
        """Return the code and value of the reply."""
        self.link.sent()
        self.link.receive(67, _HOST, self._next, operation, list(arguments))
        self._next += 1
        for _ in range(40):  # there may be much to send before
            self.agent.governor.host_us = 1_000_000  # a slow disk is not to cost the host its share
            poll_now(self.agent)
            assert self.agent.faults == 0
            for message in self.link.sent():
                if message[0] == 7:
                    return message[3], message[4]
        raise AssertionError("no reply")

    def set_all(self):
        for request in (
            (START_MONITORING, 500, 20),
            (SET_LIMITS, 3, 60_000, 200, 1000),
            (SET_THRESHOLD, 0, None, None, None, None, None),
            (SET_THRESHOLD, CPU, 800, 900, 700, 2000, 1),
            (SET_QUOTA, "upload", 4096, None, 1, 9000),
        ):
            assert self.ask(*request)[0] == OK, request

    def state(self):
        return stored_policy_of(self.agent).state

    def events(self):
        """Return what became of the stored policy."""
        events = self.policy.events
        found = [events.event(number) for number in range(events.seq)]
        return [event[5] for event in found if event[1] == "policy"]

    def restored(self):
        """Return another board's agent, as it is after its start with that file."""
        rig = Rig()
        rig.board.path = self.board.path
        load_policy(rig.agent)
        return rig


def _rows(policy):
    return [
        (METRICS[each.metric], each.warn, each.critical, each.clear, each.hold_ms, each.action)
        for each in policy.thresholds.all()
    ]


def _quotas(session):
    return session.memory, session.storage, session.operations, session.ttl_ms


_DEFAULT = [("memory", 750, 850, 650, 0, 1)]


def _need_files():
    try:
        os.stat("/")
        open("here", "w").close()
        os.remove("here")
    except OSError:
        raise Skip("nothing is mounted")


def _write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _clean(*paths):
    for path in paths or ("warden.policy", "warden.policy.new", "warden.policy.aside"):
        try:
            os.remove(path)
        except OSError:
            pass


def test_without_a_file_system_it_is_refused_with_the_reason():
    try:
        open("here", "w").close()
        os.remove("here")
        raise Skip("there is one")
    except OSError:
        pass
    rig = Rig()
    rig.set_all()
    assert rig.ask(KEEP, SAVE) == (DENIED, ["keep:no_files", None, None, []])
    assert rig.ask(KEEP, TELL) == (OK, [NOTHING, 1])
    assert rig.ask(KEEP, FORGET) == (OK, [NOTHING, 1])
    warden.start(link=False)  # and looking for one does no harm
    warden.stop()


def test_what_a_host_has_stored_is_in_force_at_the_next_start_with_no_host():
    _need_files()
    rig = Rig()
    rig.set_all()
    assert rig.ask(KEEP, TELL) == (OK, [NOTHING, 1])
    assert rig.ask(KEEP, SAVE) == (OK, [IN_FORCE, 1])
    assert rig.events() == ["kept"]
    assert "warden.policy.new" not in os.listdir()
    warden.start(interval_ms=5000, max_operations=8, link=False)
    try:
        warden.on("policy", lambda event: heard.append(event[5]))
        heard = []
        status = warden.status()
        assert status["wanted_interval_ms"] == 500 and status["overhead"]["budget_permille"] == 20
        policy = running_policy()
        assert policy.limits() == [3, 60_000, 200, 1000]
        assert _rows(policy) == [("cpu", 800, 900, 700, 2000, 1)]
        session = warden.session("upload")
        assert _quotas(session) == (4096, None, 1, 9000)
        own = warden.session("upload", memory=100, ttl_ms=5)  # what the application gives stays
        assert _quotas(own) == (100, None, 1, 5)
        assert _quotas(warden.session("other")) == (None, None, None, None)
        # The application's word comes second, and is not lost silently.
        for _ in range(2):
            warden.threshold("memory", 1, 2)
            warden.set_limits(max_operations=1)
        assert policy.limits()[0] == 3 and len(policy.thresholds.all()) == 1
        warden.poll()
        assert heard == ["in force", "threshold ignored", "limits ignored"]
        warden.start_monitoring(100)  # but how often it looks, it may change as it runs
        assert warden.status()["wanted_interval_ms"] == 100
    finally:
        warden.stop()
        _clean()


def test_after_forgetting_the_applications_settings_hold():
    _need_files()
    rig = Rig()
    rig.set_all()
    rig.ask(KEEP, SAVE)
    _write("warden.policy.new", b"left over")
    assert rig.ask(KEEP, FORGET) == (OK, [NOTHING, 1])
    assert os.listdir() == []
    assert rig.events() == ["kept", "forgotten"]
    assert not rig.policy.stored_policy.overrules("limits")
    assert rig.ask(KEEP, FORGET) == (OK, [NOTHING, 1])
    after = rig.restored()
    assert after.state() == NOTHING and _rows(after.policy) == _DEFAULT


def test_any_damage_is_reported_and_the_board_starts():
    _need_files()
    rig = Rig()
    rig.set_all()
    rig.ask(KEEP, SAVE)
    good = _read(rig.path)
    assert rig.restored().state() == IN_FORCE
    damaged = [good[:end] for end in range(len(good))]
    damaged += [good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :] for at in range(len(good))]
    damaged += [good + b"\x00", bytes(700), b"\x01\xc0" * 400, good + good]
    after = rig.restored()
    for data in damaged:
        _write(rig.path, data)
        for row in range(8):
            after.policy.thresholds.put(row, None)
        after.policy.thresholds.set("memory", 750, 850, 650, 0, 1)
        after.policy.set_limits(2, 300_000, 100, 5000)
        after.policy.quotas = {}
        load_policy(after.agent)
        assert after.state() == BROKEN, data
        assert _rows(after.policy) == _DEFAULT
        assert after.policy.limits() == [2, 300_000, 100, 5000]
        assert after.policy.quotas == {}
    assert after.events()[-1] == "broken"
    assert after.ask(KEEP, TELL) == (OK, [BROKEN, 0])
    assert not after.policy.stored_policy.overrules("limits")
    warden.start(link=False)
    assert running_policy().stored_policy.state == BROKEN
    warden.stop()
    # Another one takes its place.
    assert after.ask(KEEP, SAVE) == (OK, [IN_FORCE, 0])
    assert after.restored().state() == IN_FORCE
    _clean()


def test_an_invalid_policy_with_a_valid_crc_is_broken():
    _need_files()
    rig = Rig()
    value = [500, 20, [3, 60_000, 200, 1000], [[CPU, 800, 900, 700, 0, 1]], [["a", 1, 1, 1, 1]]]
    wrong = [
        (0, 5),
        (0, "x"),
        (1, 0),
        (2, [9, 1, 1, 1]),
        (2, [1, 1, 1]),
        (2, None),
        (3, [[99, 1, 2, 0, 0, 0]]),
        (3, [[CPU, 900, 800, 950, 0, 9]]),
        (3, [[place, 1, 2, 0, 0, 0] for place in range(9)]),
        (3, [5]),
        (4, [["a", 0, None, None, None]]),
        (4, [["", 1, None, None, None]]),
        (4, [["a", 1]]),
        (4, [[5, 1, 1, 1, 1]]),
    ]
    for place, instead in [(0, 500)] + wrong:
        changed = value[:place] + [instead] + value[place + 1 :]
        _write(rig.path, _framed(changed))
        state = rig.restored().state()
        assert state == (IN_FORCE if instead == 500 else BROKEN), changed
    _clean()


def _framed(value):
    from warden_schema.codec import put
    from warden_schema.loops import crc16

    data = bytearray(640)
    data[0] = 1
    end = put(data, 1, value)
    crc = crc16(data, 0, end)
    return bytes(data[:end]) + bytes([crc >> 8, crc & 0xFF])


def test_the_largest_policy_fits():
    _need_files()
    rig = Rig()
    most = 0x3FFFFFFF
    rig.policy.set_limits(8, most, 900, 600_000)
    for metric in range(7, 15):
        rig.ask(SET_THRESHOLD, metric, -most, -most, -most, 600_000, 1)
    rig.ask(SET_THRESHOLD, 0, None, None, None, None, None)
    for metric in range(7, 15):
        assert rig.ask(SET_THRESHOLD, metric, -most, -most, -most, 600_000, 1)[0] == OK
    for number in range(8):
        name = str(number) + 23 * "n"
        assert rig.ask(SET_QUOTA, name, most, most, most, most)[0] == OK
    assert rig.ask(KEEP, INSIST) == (OK, [IN_FORCE, 8])
    after = rig.restored()
    assert after.state() == IN_FORCE and len(after.policy.thresholds.all()) == 8
    assert after.policy.quotas == rig.policy.quotas
    assert after.ask(QUOTA, 7)[1] == ["7" + 23 * "n", most, most, most, most]
    _clean()


def test_a_board_that_was_told_to_stop_looking_does_not_come_back_blind():
    _need_files()
    rig = Rig()
    rig.agent.stop_monitoring()
    rig.ask(KEEP, SAVE)
    assert rig.restored().agent.governor.wanted_interval_ms == 600_000  # as its own start() says
    _clean()


def test_quotas_are_set_read_and_taken_away():
    rig = Rig()
    assert rig.ask(QUOTA, 0) == (OK, None)
    assert rig.ask(SET_QUOTA, "b", 1, None, None, None) == (OK, None)
    assert rig.ask(SET_QUOTA, "a", None, 2, None, None) == (OK, None)
    assert rig.ask(SET_QUOTA, "b", None, None, 3, 4) == (OK, None)
    assert rig.ask(QUOTA, 0) == (OK, ["a", None, 2, None, None])
    assert rig.ask(QUOTA, 1) == (OK, ["b", None, None, 3, 4])
    assert rig.ask(QUOTA, 2) == (OK, None)
    assert rig.ask(SET_QUOTA, "a", None, None, None, None) == (OK, None)
    assert rig.ask(SET_QUOTA, "none", None, None, None, None) == (OK, None)
    assert rig.ask(KEEP, None) == (OK, [NOTHING, 1])
    for wrong in (
        (KEEP,),
        (KEEP, 4),
        (KEEP, "x"),
        (QUOTA, None),
        (SET_QUOTA, "x"),
        (SET_QUOTA, "x", 0, None, None, None),
        (SET_QUOTA, "x", "1", None, None, None),
        (SET_QUOTA, "x", 0x40000000, None, None, None),
        (SET_QUOTA, 25 * "x", 1, None, None, None),
        (SET_QUOTA, "", 1, None, None, None),
        (SET_QUOTA, 5, 1, None, None, None),
    ):
        assert rig.ask(*wrong)[0] == BAD_ARGUMENTS, wrong
    for number in range(7):
        assert rig.ask(SET_QUOTA, "s" + str(number), 1, None, None, None)[0] == OK
    assert rig.ask(SET_QUOTA, "one more", 1, None, None, None)[1][0] == "table"
    assert rig.ask(SET_QUOTA, "b", 5, None, None, None)[0] == OK


# --- file systems ---------------------------------------------------------------------------------


class Disk:
    """A disk in memory; after `writes` writes of blocks it has lost its power."""

    def __init__(self, blocks, data=None):
        self.data = data or bytearray(blocks * 512)
        self.writes = None

    def readblocks(self, block, buf, offset=0):
        at = block * 512 + offset
        for i in range(len(buf)):
            buf[i] = self.data[at + i]

    def writeblocks(self, block, buf, offset=None):
        self._change()
        at = block * 512 + (offset or 0)
        for i in range(len(buf)):  # allocates nothing: a file that is collected may write
            self.data[at + i] = buf[i]

    def _change(self):
        if self.writes is not None:
            if not self.writes:
                raise OSError(5)
            self.writes -= 1

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // 512
        if op == 5:
            return 512
        if op == 6:
            self._change()
            at = arg * 512
            self.data[at : at + 512] = b"\xff" * 512
        return 0


def _file_systems():
    found = [getattr(os, name, None) for name in ("VfsLfs2", "VfsFat")]
    if None in found:
        raise Skip("this firmware has not both")
    return found


def _mounted(kind, disk, read_only=False):
    if read_only:
        os.mount(kind(disk), "/disk", readonly=True)
    else:
        os.mount(kind(disk), "/disk")


def _fill(size):
    number = 0
    while True:
        with open("/disk/{}-{}".format(size, number), "wb") as file:
            file.write(bytes(size))
        number += 1


def test_a_full_or_read_only_file_system_is_refused_and_the_old_one_stays():
    for kind in _file_systems():
        disk = Disk(64)
        kind.mkfs(disk)
        _mounted(kind, disk)
        try:
            rig = Rig("/disk")
            assert rig.ask(KEEP, SAVE)[0] == OK
            rig.set_all()
            for size in (2048, 256, 64):
                assert raises(OSError, _fill, size).errno == 28
            code, value = rig.ask(KEEP, SAVE)
            assert (code, value[0]) == (DENIED, "keep:full"), kind
            os.umount("/disk")
            _mounted(kind, disk, True)
            assert "warden.policy.new" not in os.listdir("/disk")
            code, value = rig.ask(KEEP, SAVE)
            assert (code, value[0]) == (DENIED, "keep:read_only"), kind
            assert rig.ask(KEEP, FORGET)[1][0] == "keep:read_only", kind
            assert rig.ask(KEEP, TELL)[1][0] == IN_FORCE
            after = rig.restored()
            assert after.state() == IN_FORCE and _rows(after.policy) == _DEFAULT
        finally:
            os.umount("/disk")


def test_whenever_the_power_is_lost_the_old_or_the_new_one_is_there():
    for kind in _file_systems():
        disk = Disk(64)
        kind.mkfs(disk)
        _mounted(kind, disk)
        rig = Rig("/disk")
        assert rig.ask(KEEP, SAVE)[0] == OK
        os.umount("/disk")
        rig.set_all()
        before = bytes(disk.data)
        seen = []
        writes = 0
        while True:
            disk.data[:] = before
            _mounted(kind, disk)
            disk.writes = writes
            code = rig.ask(KEEP, SAVE)[0]
            after = bytearray(disk.data)
            try:
                os.umount("/disk")
            except OSError:
                pass
            disk.writes = None
            _mounted(kind, Disk(64, after))
            found = rig.restored()
            assert found.state() == IN_FORCE, (kind, writes)
            new = _rows(found.policy) != _DEFAULT
            assert new == (found.policy.limits()[0] == 3)
            assert new or code != OK, (kind, writes)
            seen.append(new)
            os.umount("/disk")
            if code == OK:
                break
            writes += 1
        assert writes >= 2 and not seen[0] and seen[-1], (kind, seen)


def test_what_is_stored_already_is_not_written_again():
    for kind in _file_systems():
        disk = Disk(64)
        kind.mkfs(disk)
        _mounted(kind, disk)
        try:
            rig = Rig("/disk")
            assert rig.ask(KEEP, SAVE)[0] == OK
            disk.writes = 0
            assert rig.ask(KEEP, SAVE) == (OK, [IN_FORCE, 0]), kind
            assert rig.ask(SET_QUOTA, "b", 1, None, None, None)[0] == OK
            assert rig.ask(KEEP, SAVE)[1][0] == "keep:5", kind  # this has to be written
        finally:
            disk.writes = None
            os.umount("/disk")


def test_what_acts_at_once_is_stored_only_if_the_host_insists():
    _need_files()
    _clean()
    rig = Rig()
    rig.ask(SET_THRESHOLD, METRICS.index("live_bytes"), 1, 2, 0, 0, 1)
    assert rig.ask(KEEP, SAVE) == (DENIED, ["keep:acts_now", None, None, []])
    assert "warden.policy" not in os.listdir() and rig.ask(KEEP, TELL) == (OK, [NOTHING, 0])
    rig.ask(SET_THRESHOLD, METRICS.index("live_bytes"), 1, 2, 0, 0, 0)  # it only tells
    assert rig.ask(KEEP, SAVE) == (OK, [IN_FORCE, 0])
    rig.agent.memory.live = rig.agent.memory.total // 4
    rig.ask(SET_LIMITS, None, None, 800, None)
    assert rig.ask(KEEP, SAVE)[1][0] == "keep:acts_now"
    assert rig.ask(KEEP, INSIST) == (OK, [IN_FORCE, 0])
    _clean()


def test_a_time_that_ends_all_at_once_is_stored_only_if_the_host_insists_and_then_set_aside():
    _need_files()
    requests = (
        ((SET_LIMITS, None, 1, None, None), (SET_LIMITS, None, 249, None, None)),
        ((SET_QUOTA, "b", None, None, None, 1), (SET_QUOTA, "b", None, None, None, 249)),
    )
    good = ((SET_LIMITS, None, 250, None, None), (SET_QUOTA, "b", None, None, None, 250))
    for place in range(2):
        for request in requests[place]:
            _clean()
            rig = Rig()
            assert rig.ask(*request)[0] == OK
            assert rig.ask(KEEP, SAVE) == (DENIED, ["keep:acts_now", None, None, []]), request
            assert "warden.policy" not in os.listdir()
            assert rig.ask(*good[place])[0] == OK
            assert rig.ask(KEEP, SAVE)[0] == OK, request
            assert rig.ask(*request)[0] == OK
            assert rig.ask(KEEP, INSIST)[0] == OK
            after = rig.restored()
            assert after.state() == IN_FORCE
            policy = after.policy
            for ms, is_over in ((599_999, False), (1, True)):
                with no_heap():
                    policy.stored_policy.evaluate(ms)
                assert policy.pressure.pending == is_over
            policy.deliver()
            assert after.state() == SET_ASIDE, request
            assert policy.quotas == {} and policy.limits() == [2, 300_000, 100, 5000]
    _clean()


def test_what_refuses_all_for_ten_minutes_is_set_aside():
    _need_files()
    _clean()
    rig = Rig()
    rig.set_all()
    rig.ask(SET_THRESHOLD, METRICS.index("live_bytes"), 1, 2, 0, 0, 1)
    assert rig.ask(KEEP, INSIST) == (OK, [IN_FORCE, 1])
    after = rig.restored()
    policy = after.policy

    def pass_ms(ms):
        policy.pressure.pending = False
        policy.evaluate(ms, 0)
        if policy.can_deliver():
            policy.deliver()

    pass_ms(3_600_000)  # one sample, after a sleep
    policy.pressure.level = 0
    policy.stored_policy.evaluate(1)  # not without a break
    pass_ms(599_999)
    assert after.state() == IN_FORCE and after.policy.pressure.refuses(1)
    pass_ms(1)
    assert after.state() == SET_ASIDE and after.events()[-1] == "set aside"
    assert _rows(policy) == _DEFAULT and policy.limits() == [2, 300_000, 100, 5000]
    assert policy.quotas == {} and os.listdir().count("warden.policy.aside") == 1
    assert find_stored_policy(after.board) == ".policy.aside"  # not in force at the next start
    again = Rig()
    load_policy(again.agent, True)  # as that start does, so that a host is told
    assert again.ask(KEEP, TELL) == (OK, [SET_ASIDE, 0])
    assert again.ask(KEEP, SAVE) == (OK, [IN_FORCE, 0])
    assert "warden.policy.aside" not in os.listdir()
    _clean()


def test_after_the_next_start_a_host_is_told_that_one_was_set_aside_and_it_stays_so():
    _clean()
    path = board().path + ".policy.aside"
    try:
        with open(path, "wb") as file:
            file.write(b"set aside")
    except OSError:
        raise Skip("nothing is mounted")
    for _ in range(2):
        with open(board().path + ".note", "w") as file:
            file.write("2cpu critical, 950")  # which would have one in force set aside
        warden.start(link=False)
        try:
            policy = running_policy()
            assert policy.early_resets == 2
            assert policy.stored_policy.state == SET_ASIDE
            assert not policy.stored_policy.overrules("limits")
            assert _rows(policy) == _DEFAULT
        finally:
            warden.stop()
    with open(path, "rb") as file:
        assert file.read() == b"set aside"
    _clean()


def test_a_policy_under_which_a_threshold_ended_two_boots_early_is_set_aside():
    _need_files()
    _clean()
    rig = Rig()
    rig.set_all()
    assert rig.ask(KEEP, SAVE)[0] == OK
    for early, state in ((1, IN_FORCE), (2, SET_ASIDE)):
        _write("warden.note", b"%dcpu critical, 999" % early)
        warden.start(link=False)
        try:
            policy = running_policy()
            assert policy.stored_policy.state == state, early
            assert (_rows(policy) == _DEFAULT) == (state == SET_ASIDE)
        finally:
            warden.stop()
    assert "warden.policy" not in os.listdir()
    _clean()


def test_what_is_noted_is_where_the_next_start_looks_wherever_the_application_is():
    _need_files()
    _clean()
    here = os.getcwd()
    os.mkdir("elsewhere")
    warden.start(link=False)
    try:
        policy = running_policy()
        os.chdir("elsewhere")
        policy.agent.board.save_note("1cpu critical, 999")
        crashes = make_crashes(policy.agent.board)
        found = os.listdir()
    finally:
        os.chdir(here)
        warden.stop()
        for name in os.listdir("elsewhere"):
            os.remove("elsewhere/" + name)
        os.rmdir("elsewhere")
    warden.start(link=False)
    try:
        assert running_policy().early_resets == 1
    finally:
        warden.stop()
    assert found == []
    assert crashes.path == here.rstrip("/") + "/warden.resets"
    _clean("warden.resets", "warden.resets.last")


def test_a_note_that_power_was_cut_in_keeps_no_board_from_starting():
    _need_files()
    _clean()
    for note in (b"", b"1mem\xff\xfe", b"\xff" * 4096):
        _write("warden.note", note)
        warden.start(link=False)
        try:
            assert running_policy().early_resets == 0
        finally:
            warden.stop()
        assert "warden.note" not in os.listdir()
    _clean()


def test_a_host_that_stores_all_the_time_does_not_wear_out_the_flash():
    _need_files()
    _clean()
    rig = Rig()
    left = wear.left
    wear.left = 20
    try:
        for seconds in range(20):
            rig.ask(SET_LIMITS, None, None, None, 1000 + seconds)
            assert rig.ask(KEEP, SAVE) == (OK, [IN_FORCE, 0])
            assert rig.ask(KEEP, SAVE) == (OK, [IN_FORCE, 0])  # the same: nothing is written
        rig.ask(SET_LIMITS, None, None, None, 999)
        code, value = rig.ask(KEEP, SAVE)
        assert (code, value[0]) == (DENIED, "keep:worn") and 0 < value[2] <= 900_000
        wear.left += 1  # a quarter of an hour later
        assert rig.ask(KEEP, SAVE) == (OK, [IN_FORCE, 0])
    finally:
        wear.left = left
    _clean()


def test_it_is_stored_where_the_board_started_wherever_the_application_goes():
    kind = _file_systems()[0]
    disk = Disk(64)
    kind.mkfs(disk)
    warden.start(link=False)
    agent = running_agent()
    _mounted(kind, disk)
    home = os.getcwd()
    os.chdir("/disk")
    try:
        request_policy(agent, SAVE)
        assert os.listdir("/disk") == [] or os.listdir("/disk") == ["lost+found"]
    finally:
        os.chdir(home)
        os.umount("/disk")
        warden.stop()
    assert "warden.policy" in os.listdir()
    _clean()
