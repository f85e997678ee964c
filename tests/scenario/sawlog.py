# SPDX-License-Identifier: Apache-2.0
"""The scenario driver: starts the real binary, sends, queries, tails, kills.

Everything a test sees goes through public doors: HTTP, the command line,
signals, files that a forwarder reads.  Each node gets a folder and a port of
its own; whatever a test leaves running is ended with it.
"""
import base64
import contextlib
import gzip
import itertools
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAWLOG = os.environ.get("SAWLOG", str(ROOT / "build/release/sawlog"))
PATIENCE = 20.0
# A sanitizer's own memory says nothing of ours.
SANITIZED = any(name in Path(SAWLOG).read_bytes() for name in (b"__asan_init", b"__tsan_init")) \
    if Path(SAWLOG).exists() else False


def wait_for(what, condition, seconds=PATIENCE):
    """Poll until condition() is true and return it; name `what` when it stays false."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def receive(sock):
    """What comes next; the end of the connection is an error, so that no loop waits for more behind it."""
    got = sock.recv(65536)
    if not got:
        raise ConnectionError("the server has closed the connection")
    return got


# Below those that the kernel gives to clients (ip_local_port_range): one of these would be taken again before its
# server listens.  Each run begins somewhere else.
# Runs that go on side by side are given ranges of their own.
_range = range(*map(int, os.environ.get("TEST_PORTS", "12000-32000").split("-")))
_ports = itertools.cycle(_range)
for _ in range(random.SystemRandom().randrange(len(_range))):
    next(_ports)


def free_port():
    """A port that nobody uses, of TCP and UDP alike."""
    for port in _ports:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            with contextlib.suppress(OSError):
                stream.bind(("0.0.0.0", port))
                datagrams.bind(("0.0.0.0", port))
                return port


class Answer:
    def __init__(self, status, body, headers):
        self.status, self.body, self.headers = status, body, headers
        self.text = body.decode("utf-8", "surrogateescape")

    def json(self):
        return json.loads(self.body)


class Process:
    """A child with its output in files; ended by the test's end at the latest."""

    def __init__(self, name, folder):
        self.name, self.folder, self.child = name, Path(folder), None
        self.folder.mkdir(parents=True, exist_ok=True)

    def spawn(self, args, env=None, stdin=None):
        out = open(self.folder / f"{self.name}.out", "ab")
        err = open(self.folder / f"{self.name}.err", "ab")
        with out, err:
            self.child = subprocess.Popen(
                args, stdout=out, stderr=err, stdin=stdin or subprocess.DEVNULL,
                env={**os.environ, **(env or {})})

    @property
    def running(self):
        return self.child is not None and self.child.poll() is None

    @property
    def out(self):
        return (self.folder / f"{self.name}.out").read_text(errors="replace")

    @property
    def err(self):
        return (self.folder / f"{self.name}.err").read_text(errors="replace")

    def kill(self, sig=signal.SIGKILL):
        """Send a signal and wait for the end; returns the exit code."""
        if self.running:
            self.child.send_signal(sig)
        return self.child.wait(timeout=PATIENCE)

    def close(self):
        if self.running:
            self.child.kill()
            self.child.wait()

    def rss_anon(self):
        """Anonymous memory in bytes."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) * 1024


class Server(Process):
    COMMAND = "serve"

    def __init__(self, folder, name="server", config=None, args=(), env=None, binary=SAWLOG, host="127.0.0.1"):
        super().__init__(name, folder)
        self.binary = binary
        self.host, self.port = host, free_port()
        self.url = f"http://{host}:{self.port}"
        self.data = self.folder / "data"
        self.args, self.env = list(args), env
        self.config = None
        if config is not None:
            self.config = self.folder / "sawlog.yaml"
            self.config.write_text(config)

    def start(self, wait=True):
        args = [self.binary, self.COMMAND, "--data", str(self.data), "--http", f"{self.host}:{self.port}"]
        if self.config:
            args += ["-c", str(self.config)]
        self.spawn(args + self.args, self.env)
        if wait:
            wait_for("the server is ready", self.is_ready)
        return self

    def is_ready(self):
        if not self.running:
            raise AssertionError(f"the server ended: {self.err[-2000:]}")
        try:
            return self.get("/ready").status == 200
        except OSError:
            return False

    def stop(self):
        return self.kill(signal.SIGTERM)

    # -- HTTP

    def call(self, method, path, body=None, headers=None, timeout=PATIENCE):
        request = urllib.request.Request(
            self.url + path, data=body, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as e:
            return Answer(e.code, e.read(), e.headers)

    def get(self, path, params=None, headers=None):
        if params:
            path += "?" + urllib.parse.urlencode(params, doseq=True)
        return self.call("GET", path, headers=headers)

    def push(self, labels, lines, start_ns=None, zipped=False, tenant=None, timeout=PATIENCE):
        """Loki push; lines are str or (ns, str) or (ns, str, metadata)."""
        now = start_ns or time.time_ns()
        values = []
        for i, line in enumerate(lines):
            if isinstance(line, str):
                values.append([str(now + i), line])
            else:
                values.append([str(line[0]), *line[1:]])
        body = json.dumps({"streams": [{"stream": labels, "values": values}]}).encode()
        headers = {"Content-Type": "application/json"}
        if zipped:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        if tenant:
            headers["X-Scope-OrgID"] = tenant
        return self.call("POST", "/loki/api/v1/push", body, headers, timeout)

    def query(self, logql, since="876000h", limit=1000, direction="forward", tenant=None, **more):
        """One page of query_range as JSON."""
        headers = {"X-Scope-OrgID": tenant} if tenant else {}
        params = {"query": logql, "since": since, "limit": limit, "direction": direction, **more}
        answer = self.get("/loki/api/v1/query_range", params, headers)
        assert answer.status == 200, answer.text
        return answer.json()

    def entries(self, logql, **more):
        """All entries [(ns, line, labels)] in order, page by page, however many."""
        found, cursor = [], None
        while True:
            params = {"cursor": cursor} if cursor else {}
            data = self.query(logql, limit=5000, **params, **more)["data"]
            page = [(int(ns), line, s["stream"]) for s in data["result"] for ns, line, *_ in s["values"]]
            page.sort(key=lambda e: e[0])
            found += page
            cursor = data["sawlog"].get("next")
            if not cursor:
                return found

    def lines(self, logql, **more):
        return [line for _, line, _ in self.entries(logql, **more)]

    def metrics(self):
        """{'name{labels}': value}"""
        found = {}
        for line in self.get("/metrics").text.split("\n"):  # values of labels have any other character
            if line and not line.startswith("#"):
                key, value = line.rsplit(" ", 1)
                found[key] = float(value)
        return found

    def metric(self, name, **labels):
        """Sum of the series of a family that carry these labels."""
        total = 0
        for key, value in self.metrics().items():
            family, _, rest = key.partition("{")
            if family == name and all(f'{k}="{v}"' in rest for k, v in labels.items()):
                total += value
        return total

    def tail(self, logql, **params):
        return Tail(self.port, logql, params, self.host)


class Tail:
    """A WebSocket client of /loki/api/v1/tail, independent of sawlog's own."""

    end = None  # when waiting for a frame is given up, monotonic

    def __init__(self, port, logql, params, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), timeout=PATIENCE)
        query = urllib.parse.urlencode({"query": logql, **params})
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((
            f"GET /loki/api/v1/tail?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode())
        self.data, self.cursor, self.end = b"", None, None
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        assert b" 101 " in head.split(b"\r\n")[0], head + self.data

    def _more(self):
        # Pings come for ever: a socket's timeout alone ends no wait.
        assert not self.end or time.monotonic() < self.end, "nothing but pings"
        self.data += receive(self.sock)

    def _take(self, n):
        while len(self.data) < n:
            self._more()
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def frame(self):
        """The next text frame as JSON; answers pings; ConnectionError at the close."""
        text = b""
        while True:
            first, length = self._take(2)
            if length == 126:
                (length,) = struct.unpack(">H", self._take(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._take(8))
            payload = self._take(length)
            opcode = first & 15
            if opcode == 9:
                mask = os.urandom(4)
                masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
                self.sock.sendall(bytes([0x8A, 0x80 | len(payload)]) + mask + masked)
            elif opcode == 8:
                raise ConnectionError(f"closed: {payload!r}")
            elif opcode in (0, 1):
                text += payload
                if first & 0x80:
                    frame = json.loads(text)
                    self.cursor = frame["sawlog"]["cursor"]
                    return frame

    def entries(self, n, seconds=PATIENCE):
        """The next n entries [(ns, line, labels)] at least."""
        found, end = [], time.monotonic() + seconds
        while len(found) < n:
            left = end - time.monotonic()
            assert left > 0, f"{len(found)} of {n} entries after {seconds} s"
            self.sock.settimeout(left)
            self.end = end
            for s in self.frame()["streams"]:
                found += [(int(ns), line, s["stream"]) for ns, line, *_ in s["values"]]
            self.end = None
        return found

    def close(self):
        self.sock.close()


class Router(Server):
    """`sawlog route`; its zones are in its configuration."""

    COMMAND = "route"


class Forwarder(Process):
    def __init__(self, folder, url, paths, name="forwarder", args=(), binary=SAWLOG):
        super().__init__(name, folder)
        self.url, self.paths, self.args = url, [str(p) for p in paths], list(args)
        self.binary = binary
        self.data = self.folder / f"{name}-data"

    def start(self, stdin=None):
        self.spawn([self.binary, "forward", "--to", self.url, "--data", str(self.data),
                    *self.args, *self.paths], stdin=stdin)
        return self

    def stop(self):
        return self.kill(signal.SIGTERM)


def run(*args, stdin=None, env=None, timeout=PATIENCE):
    """Run a command of the binary to its end."""
    return subprocess.run([SAWLOG, *map(str, args)], input=stdin, capture_output=True,
                          env={**os.environ, **(env or {})}, timeout=timeout)


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="sawlog-") as name:
        yield Path(name)
