# SPDX-License-Identifier: Apache-2.0
"""Small clients for live answers: a WebSocket (RFC 6455) and a reader of server-sent events."""
import base64
import contextlib
import json
import os
import select
import socket
import ssl
import struct
import time
import urllib.parse

from sawlog import PATIENCE, receive

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Refused(Exception):
    """The answer was no switch of protocols."""

    def __init__(self, status, head, body):
        super().__init__(f"{status}: {body!r}")
        self.status, self.head, self.body = status, head, body


class Closed(ConnectionError):
    """The server closed, with this code and reason."""

    def __init__(self, code, reason):
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


def connect(server, secure=None, buffer=None, source=None):
    sock = socket.socket()
    if source:
        sock.bind((source, 0))
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.settimeout(PATIENCE)
    sock.connect((server.host, server.port))
    if secure:
        sock = ssl.create_default_context(cafile=str(secure)).wrap_socket(sock, server_hostname="localhost")
    return sock


def target(path, params):
    return path + ("?" + urllib.parse.urlencode(params, doseq=True) if params else "")


class Socket:
    def __init__(self, server, path, params=None, headers=None, secure=None, buffer=None, source=None):
        self.sock = connect(server, secure, buffer, source)
        self.data = b""
        key = base64.b64encode(os.urandom(16)).decode()
        head = [f"GET {target(path, params)} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
                f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
                *(f"{k}: {v}" for k, v in (headers or {}).items())]
        self.sock.sendall("\r\n".join([*head, "", ""]).encode())
        while b"\r\n\r\n" not in self.data:
            self.data += receive(self.sock)
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        status = int(head.split()[1])
        if status != 101:
            with contextlib.suppress(OSError):
                self.sock.settimeout(0.5)
                while True:
                    self.data += receive(self.sock)
            self.sock.close()
            raise Refused(status, head.decode(), self.data)

    def fileno(self):
        return self.sock.fileno()

    def has_more(self):
        return bool(self.data)

    def some(self):
        return [self.frame()[1]]

    def _take(self, n):
        while len(self.data) < n:
            self.data += receive(self.sock)
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def send(self, opcode, payload=b""):
        mask = os.urandom(4)
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        assert len(payload) < 126
        self.sock.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)

    def frame(self, answer_pings=True):
        """The next message, (opcode, payload); Closed at the end."""
        while True:
            first, length = self._take(2)
            if length == 126:
                length, = struct.unpack(">H", self._take(2))
            elif length == 127:
                length, = struct.unpack(">Q", self._take(8))
            payload, opcode = self._take(length), first & 15
            if opcode == PING:
                if answer_pings:
                    self.send(PONG, payload)
            elif opcode == CLOSE:
                raise Closed(struct.unpack(">H", payload[:2])[0] if payload else None, payload[2:].decode())
            elif opcode in (TEXT, BINARY):
                assert first & 0x80, "messages come in one frame"
                return opcode, payload

    def messages(self, n, decode=lambda b: b):
        """The next n of them, which are binary."""
        found = []
        while len(found) < n:
            opcode, payload = self.frame()
            assert opcode == BINARY, opcode
            found.append(decode(payload))
        return found

    def quiet(self, seconds=0.3):
        """Nothing comes for so long (but pings)."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.data or select.select([self.sock], [], [], left)[0]:
                self.sock.settimeout(seconds)
                try:
                    return self.frame() and False
                except TimeoutError:
                    return True
                finally:
                    self.sock.settimeout(PATIENCE)
        return True

    def end(self):
        """Read on until the server closes: what came, and its Closed."""
        found = []
        while True:
            try:
                found.append(self.frame()[1])
            except Closed as e:
                return found, e

    def close(self):
        self.sock.close()


class Events:
    """Server-sent events: (event, data) of each; of those that are not named the event is None."""

    def __init__(self, server, path, params=None, headers=None, secure=None, buffer=None):
        self.sock = connect(server, secure, buffer)
        head = [f"GET {target(path, params)} HTTP/1.1", "Host: localhost", "Accept: text/event-stream",
                *(f"{k}: {v}" for k, v in (headers or {}).items())]
        self.sock.sendall("\r\n".join([*head, "", ""]).encode())
        self.raw, self.text, self.ended = b"", b"", False
        while b"\r\n\r\n" not in self.raw:
            self.raw += receive(self.sock)
        head, self.raw = self.raw.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])
        self.headers = {k.lower(): v for k, v in
                        (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])}
        if self.status != 200:
            while len(self.raw) < int(self.headers["content-length"]):
                self.raw += receive(self.sock)
            self.sock.close()

    def fileno(self):
        return self.sock.fileno()

    def has_more(self):
        return bool(self.raw or self.text)

    def some(self):
        """The envelopes of the next event; none when it is a heartbeat."""
        event, data = self.next()
        return json.loads(data)["batch"] if event is None else []

    def _chunk(self):
        """The next chunk into the text."""
        while b"\r\n" not in self.raw:
            self.raw += receive(self.sock)
        length, self.raw = self.raw.split(b"\r\n", 1)
        n = int(length, 16)
        while len(self.raw) < n + 2:
            self.raw += receive(self.sock)
        self.text += self.raw[:n]
        self.raw = self.raw[n + 2:]
        self.ended = n == 0

    def next(self):
        while b"\n\n" not in self.text:
            if self.ended:
                raise EOFError
            self._chunk()
        block, self.text = self.text.split(b"\n\n", 1)
        event, data = None, []
        for line in block.decode().split("\n"):
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            else:
                assert name == "data", line
                data.append(value)
        return event, "\n".join(data)

    def close(self):
        self.sock.close()


def shares(clients, n, decode):
    """What comes to any of these Sockets or Events until that are n: a list for each."""
    found, end = [[] for _ in clients], time.monotonic() + PATIENCE
    while (missing := n - sum(map(len, found))) > 0:
        waiting = [c for c in clients if c.has_more()]
        waiting = waiting or select.select(clients, [], [], max(end - time.monotonic(), 0))[0]
        assert waiting, f"{missing} of {n} messages are missing after {PATIENCE} s"
        for c in waiting:
            found[clients.index(c)] += map(decode, c.some())
    return found
