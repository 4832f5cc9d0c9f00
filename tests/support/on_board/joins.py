"""Hosts on the board itself that join over TCP, for what counts the memory that they take."""

import socket
import time

import warden
from warden import Runner
from warden.host_session import encode
from warden.keys import hmac, mac

agent = address = key = None
connections = []


def prepare(port, control_key):
    """Have hosts connect to this port, and prove this key, if there is one."""
    global agent, address, key
    agent = Runner.current.agent
    agent.memory.wanted = 0  # no block is kept for the application
    address = socket.getaddrinfo("127.0.0.1", port)[0][-1]
    key = control_key


def frame(payload):
    buf = bytearray(300)
    return bytes(buf[: encode(bytearray(payload) + bytearray(2), len(payload), buf)])


def packed(*message):
    buf = bytearray(300)
    return bytes(buf[: warden.put(buf, 0, message)])


def polls(count):
    for _ in range(count):
        agent.clock.poll_now = True
        agent.poll()


def until(connection, is_so):
    """Poll, and drop what comes, until that is so: what a host may take was taken, perhaps."""
    began = time.ticks_ms()
    while not is_so():
        assert time.ticks_diff(time.ticks_ms(), began) < 10_000
        drain(connection)


def drain(connection):
    """Read what has come, and drop it."""
    while True:
        polls(2)
        try:
            if not connection.recv(1000):
                return
        except OSError:  # no more
            return


def _asks(host):
    return not host.host_id and host.peer is not None and host.peer.transcript is not None


def proved(connection):
    """Prove the key; return a function that gives a payload its counter and MAC."""
    connection.send(frame(packed(68, 1, 2, bytes(16))))
    until(connection, lambda: [host for host in agent.session.hosts if _asks(host)])
    host = next(host for host in agent.session.hosts if _asks(host))
    transcript = host.peer.transcript
    connection.send(frame(packed(69, hmac(key, b"host", transcript))))
    polls(5)
    session_key = hmac(key, b"session", transcript)

    def signed(counter, payload):
        text = payload + counter.to_bytes(4, "big")
        return text + mac(session_key + b"h", text)[:8]

    return signed


def of_id(host_id):
    return [host for host in agent.session.hosts if host.host_id == host_id]


def join(host_id):
    """Connect, subscribe, and have a request answered."""
    connection = socket.socket()
    connection.connect(address)
    connection.setblocking(False)
    polls(3)
    sign = proved(connection) if key else lambda counter, payload: payload
    connection.send(frame(sign(1, packed(64, 1, 7, host_id, None))))
    until(connection, lambda: of_id(host_id))
    for _ in range(30):
        drain(connection)
    connection.send(frame(sign(2, packed(67, host_id, 0, 0, []))))
    until(connection, lambda: of_id(host_id) and of_id(host_id)[0].replies)
    connections.append(connection)


def leave():
    """Close all connections."""
    while connections:
        connections.pop().close()
    began = time.ticks_ms()
    while [host for host in agent.session.hosts if host.host_id]:
        assert time.ticks_diff(time.ticks_ms(), began) < 10_000
        polls(1)
    polls(60)


def sweep(depth=60):
    """Overwrite what was on the C stack, which is taken for pointers."""
    return depth and sweep(depth - 1)
