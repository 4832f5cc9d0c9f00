"""Clients of MQTT 3.1.1 that behave to a caller as umqtt.simple and umqtt.robust do.

Written for these tests, after what the sources of umqtt.simple 1.8.0 and umqtt.robust
(micropython-lib) do: neither can be installed here by pip. The same attributes and functions, the
same writes to `sock` (a PUBLISH is three or four), the same blocking, the same errors: OSError(-1)
where the broker has closed, nothing where a message is no PUBLISH. robust loops until it is
connected; `OldRobust` (1.0) does so without calling its own connect().
"""

import socket
import struct


class MqttError(Exception):
    """The broker refuses a connection or a subscription."""


class Simple:
    """As umqtt.simple's MQTTClient."""

    def __init__(self, client_id, server, port=1883, user=None, password=None, keepalive=0):
        self.client_id = client_id
        self.server = server
        self.port = port
        self.user = user
        self.pswd = password
        self.keepalive = keepalive
        self.sock = self.cb = None
        self.pid = 0
        self.lw_topic = self.lw_msg = None
        self.lw_qos = 0
        self.lw_retain = False

    def make_socket(self):
        """Return a connected socket."""
        sock = socket.socket()
        sock.connect(socket.getaddrinfo(self.server, self.port)[0][-1])
        return sock

    def set_callback(self, f):
        self.cb = f

    def set_last_will(self, topic, msg, retain=False, qos=0):
        self.lw_topic = topic
        self.lw_msg = msg
        self.lw_retain = retain
        self.lw_qos = qos

    def connect(self, clean_session=True, timeout=None):
        if self.sock:
            self.sock.close()
        self.sock = self.make_socket()
        flags = 2 if clean_session else 0
        texts = [self.client_id]
        if self.lw_topic:
            flags |= 4 | self.lw_qos << 3 | (32 if self.lw_retain else 0)
            texts += [self.lw_topic, self.lw_msg]
        if self.user:
            flags |= 0xC0
            texts += [self.user, self.pswd]
        size = 10 + sum([2 + len(text) for text in texts])
        self._write_head(0x10, size)
        self.sock.write(b"\0\4MQTT\4" + bytes([flags]) + struct.pack("!H", self.keepalive))
        for text in texts:
            self._write_text(text)
        answer = self.sock.read(4)
        if len(answer) < 4:
            raise OSError(-1)
        if answer[3]:
            raise MqttError(answer[3])
        return answer[2] & 1

    def disconnect(self):
        self.sock.write(b"\xe0\0")
        self.sock.close()

    def ping(self):
        self.sock.write(b"\xc0\0")

    def publish(self, topic, msg, retain=False, qos=0):
        size = 2 + len(topic) + len(msg) + (2 if qos else 0)
        self._write_head(0x30 | qos << 1 | (1 if retain else 0), size)
        self._write_text(topic)
        if qos:
            self.pid += 1
            pid = struct.pack("!H", self.pid)
            self.sock.write(pid)
        self.sock.write(msg)
        while qos:
            if self.wait_msg() == 0x40:
                self.sock.read(1)
                if self.sock.read(2) == pid:
                    return

    def subscribe(self, topic, qos=0):
        self._subscribe(0x82, topic, bytes([qos]), 0x90, 4)

    def unsubscribe(self, topic):
        self._subscribe(0xA2, topic, b"", 0xB0, 3)

    def _subscribe(self, head, topic, more, answer, size):
        self.pid += 1
        pid = struct.pack("!H", self.pid)
        self._write_head(head, 4 + len(topic) + len(more))
        self.sock.write(pid)
        self._write_text(topic)
        if more:
            self.sock.write(more)
        while self.wait_msg() != answer:
            pass
        got = self.sock.read(size)
        if got[-1] == 0x80:
            raise MqttError(got[-1])

    def _write_head(self, first, size):
        head = bytes([first])
        while size > 127:
            head += bytes([size & 127 | 128])
            size >>= 7
        self.sock.write(head + bytes([size]))

    def _write_text(self, text):
        self.sock.write(struct.pack("!H", len(text)))
        self.sock.write(text)

    def wait_msg(self):
        first = self.sock.read(1)
        self.sock.setblocking(True)
        if first is None:
            return None
        if first == b"":
            raise OSError(-1)
        if first == b"\xd0":
            self.sock.read(1)
            return None
        if first[0] & 0xF0 != 0x30:
            return first[0]
        size = shift = 0
        byte = 128
        while byte & 128:
            byte = self.sock.read(1)[0]
            size |= (byte & 127) << shift
            shift += 7
        topic = self.sock.read(struct.unpack("!H", self.sock.read(2))[0])
        size -= 2 + len(topic)
        pid = None
        if first[0] & 6:
            pid = self.sock.read(2)
            size -= 2
        self.cb(topic, self.sock.read(size))
        if pid is not None:
            self.sock.write(b"\x40\2" + pid)
        return first[0]

    def check_msg(self):
        self.sock.setblocking(False)
        return self.wait_msg()


class Robust(Simple):
    """As umqtt.robust's MQTTClient."""

    def delay(self, i):
        import time

        time.sleep_ms(20)

    def _connect(self, clean_session):
        return self.connect(clean_session)

    def reconnect(self):
        tries = 0
        while True:
            try:
                return self._connect(False)
            except OSError:
                tries += 1
                self.delay(tries)

    def publish(self, topic, msg, retain=False, qos=0):
        while True:
            try:
                return Simple.publish(self, topic, msg, retain, qos)
            except OSError:
                self.reconnect()

    def wait_msg(self):
        while True:
            try:
                return Simple.wait_msg(self)
            except OSError:
                self.reconnect()

    def check_msg(self, attempts=2):
        while attempts:
            self.sock.setblocking(False)
            try:
                return Simple.wait_msg(self)
            except OSError:
                self.reconnect()
            attempts -= 1
        return None


class OldRobust(Robust):
    """As version 1.0 on PyPI, whose reconnect() calls that of umqtt.simple."""

    def _connect(self, clean_session):
        return Simple.connect(self, clean_session)
