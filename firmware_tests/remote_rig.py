"""A program for MicroPython: an agent in a virtual time that does what lines on stdin say.

For the tests on CPython that compare the real board code with a model, and join it to the real
host; `tests/support/model/board.py` is the other end.

Each request is a line with the length of what follows, then a JSON array of commands; the answer
is one line, a JSON array with the result of each. A command is [name, arguments …]; a result is
["ok", value], ["denied", reason] or ["bad"]. Leases, operations and sessions go by their ids.
"""

import json
import sys

from virtual_board import Rig
from warden.errors import Denied, Stopped

_KINDS = 4
_MOUNTS = ("/", "/sd")
_REMEMBERED = 32


def _consents(lease):
    """A holder who agreed to give it back when asked."""


def _fails(lease):
    raise ValueError("on purpose")


class Board:
    """The commands. What was made is remembered by its id, also for what is done to it too late."""

    def new(self, max_operations, start_ms):
        self.rig = Rig(max_operations, start_ms)
        self.policy = self.rig.policy
        self.made = ({}, {}, {})  # leases, operations, sessions by id

    # --- the application ------------------------------------------------------------------------

    def allocate(self, kind, amount, owner, priority, ttl_ms, session, backed, consents, mount):
        options = {"owner": owner, "priority": priority, "ttl_ms": ttl_ms, "backed": backed}
        return self.rig.allocate(
            kind,
            amount,
            session=self.made[2].get(session),
            on_preempt=(None, _consents, _fails)[consents],
            mount=mount,
            **options,
        ).id

    def release(self, lease_id):
        self.made[0][lease_id].release()

    def commit(self, lease_id):
        self.made[0][lease_id].commit()

    def begin(self, priority, timeout_ms, memory, wait_ms, session):
        op = self.rig.begin(
            "op",
            priority=priority,
            timeout_ms=timeout_ms,
            memory=memory,
            wait_ms=wait_ms,
            session=self.made[2].get(session),
        )
        return [op.id, op.state]

    def complete(self, op_id):
        self.made[1][op_id].complete()

    def check(self, op_id):
        try:
            self.made[1][op_id].check()
        except Stopped as why:
            return type(why).__name__

    def can_execute(self, priority):
        return self.policy.operations.can_execute(priority)

    def open(self, memory, storage, operations, ttl_ms):
        quotas = {"memory": memory, "storage": storage, "operations": operations}
        return self.policy.sessions.open("s", ttl_ms=ttl_ms, **quotas).id

    def close(self, session_id):
        self.made[2][session_id].close()

    def set_limits(self, max_operations, reserve_permille):
        return self.policy.set_limits(max_operations, None, reserve_permille, None)

    # --- time and the link ----------------------------------------------------------------------

    def time(self, ms):
        self.rig.board.ticks.pass_ms(ms)

    def receive(self, data):
        """Have the host send this (hexadecimal); what the board sends then is in `sent`."""
        self.rig.link.inbox.extend(bytes.fromhex(data))

    def sent(self):
        link = self.rig.link
        data = bytes(link.outbox).hex()
        link.outbox = bytearray()
        return data

    # --- what there is --------------------------------------------------------------------------

    def poll(self):
        """Have the agent do what is due; return all there is then."""
        self.rig.poll()
        policy = self.policy
        tables = (policy.leases, policy.operations, policy.sessions)
        leases, operations, sessions = [table.all() for table in tables]
        for made, rows in zip(self.made, (leases, operations, sessions)):
            for row in rows:
                made[row.id] = row
            while len(made) > _REMEMBERED:
                del made[min(made)]
        return {
            "leases": [[x.id, x.kind, x.amount, x.owner, x.left_ms] for x in leases],
            "operations": [[x.id, x.state, x.left_ms] for x in operations],
            "sessions": [[x.id, x.left_ms] for x in sessions],
            "outstanding": [_outstanding(policy.leases, kind) for kind in range(_KINDS)],
            "in_place": _in_place(policy.operations),
            "host": self.rig.agent.session.host_id,
        }


def _in_place(operations):
    """Return how many hold a place, counted anew: what the table counts itself must agree."""
    states = [op.state for op in operations.rows if op is not None]
    in_place = len([state for state in states if state in (1, 2, 4)])
    assert (operations.places, operations.waiting) == (in_place, states.count(0))
    return in_place


def _outstanding(leases, kind):
    if kind != 1:
        return leases.outstanding(kind)
    return sum([leases.outstanding(kind, mount) for mount in _MOUNTS])


def _result(board, name, *arguments):
    try:
        return ["ok", getattr(board, name)(*arguments)]
    except Denied as refusal:
        return ["denied", refusal.reason]
    except (TypeError, ValueError):
        return ["bad"]


def main():
    board = Board()
    while True:
        head = sys.stdin.readline()
        if not head:
            return
        commands = json.loads(sys.stdin.read(int(head)))
        print(json.dumps([_result(board, *command) for command in commands]))


if __name__ == "__main__":
    main()
