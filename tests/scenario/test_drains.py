# SPDX-License-Identifier: Apache-2.0
"""Drains and the outputs behind them: syslog over TCP, TLS and UDP to a real rsyslogd and to peers that misbehave,
HTTPS to a server of Python's, bindings by configuration, API, command and messages, and what is told of them."""
import base64
import contextlib
import http.server
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest
import sawlog
from rabbit import certificate
from sawlog import free_port, wait_for

RSYSLOGD = "/usr/sbin/rsyslogd"
# "<14>1 TIME HOST APP PROC MSGID", then structured data
HEADER = re.compile(r"^<\d+>1 (\S+ ){5}(-|(\[([^\]\\]|\\.)*\])+) ")
needs_rsyslogd = pytest.mark.skipif(not Path(RSYSLOGD).exists(), reason="rsyslogd is not installed")


class Rsyslogd(sawlog.Process):
    """A real rsyslogd that writes the text of each message as a line of its own."""

    def __init__(self, folder, name="rsyslogd", tls=None, udp=False):
        super().__init__(name, folder / name)
        self.port, self.tls, self.udp = free_port(), tls, udp
        self.file = self.folder / "got"

    def start(self):
        module = "imudp" if self.udp else "imtcp"
        driver = ('StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"' if self.tls else "")
        head = (f'global(DefaultNetstreamDriverCAFile="{self.tls}/cert.pem" '
                f'DefaultNetstreamDriverCertFile="{self.tls}/cert.pem" '
                f'DefaultNetstreamDriverKeyFile="{self.tls}/key.pem")\n' if self.tls else "")
        self.conf = self.folder / "rsyslog.conf"
        self.conf.write_text(
            f'{head}global(workDirectory="{self.folder}" maxMessageSize="64k")\n'
            f'module(load="{module}" {driver})\n'
            f'input(type="{module}" port="{self.port}" address="127.0.0.1")\n'
            'template(name="t" type="string" string="%app-name%|%procid%|%hostname%|%pri%|%structured-data%|%msg%\\n")\n'
            f'action(type="omfile" file="{self.file}" template="t" flushOnTXEnd="on")\n')
        self.spawn([RSYSLOGD, "-n", "-f", str(self.conf), "-i", str(self.folder / "pid")])
        if not self.udp:
            wait_for("rsyslogd listens", self.listens)
        else:
            time.sleep(0.5)
        return self

    def listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def rows(self):
        text = self.file.read_text() if self.file.exists() else ""
        # What stands behind the last line's end is not written whole yet.
        return [line.split("|", 5) for line in text[:text.rfind("\n") + 1].splitlines()]

    def texts(self):
        return [row[5].lstrip(" ") for row in self.rows()]


class Peer:
    """A syslog server whose behaviour a test chooses: it reads, or does not, and closes, or resets."""

    def __init__(self, port=0):
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.reads, self.data, self.connections, self.open = True, [], 0, True
        self.socks = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while self.open:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.socks.append(sock)
            self.data.append(bytearray())
            threading.Thread(target=self.read, args=(sock, len(self.data) - 1), daemon=True).start()

    def read(self, sock, i):
        sock.settimeout(0.05)
        while self.open:
            if not self.reads:
                time.sleep(0.02)
                continue
            try:
                got = sock.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not got:
                sock.close()
                return
            self.data[i] += got

    def messages(self, i=None):
        """What came whole, over all connections."""
        found = []
        for data in self.data if i is None else [self.data[i]]:
            at = 0
            while (blank := data.find(b" ", at)) > 0:
                end = blank + 1 + int(data[at:blank])
                if end > len(data):
                    break
                found.append(data[blank + 1:end])
                at = end
        return found

    def texts(self):
        return [HEADER.sub("", m.decode()).rstrip("\n") for m in self.messages()]

    def reset(self):
        """End all connections at once; what was not read is lost, and the sender is told."""
        for sock in self.socks:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()

    def close(self):
        self.open = False
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.socks:
            with contextlib.suppress(OSError):
                sock.close()


@pytest.fixture
def peer():
    p = Peer()
    yield p
    p.close()


class Web:
    """An HTTP server, with TLS when there is a folder with cert.pem and key.pem."""

    def __init__(self, tls=None):
        web = self
        self.bodies, self.paths, self.headers, self.answers = [], [], [], []
        self.max_body = None

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = web.answers.pop(0) if web.answers else 200
                if web.max_body and len(body) > web.max_body:
                    status = 413
                if callable(status):
                    status = status(body)
                web.paths.append(self.path)
                web.headers.append(dict(self.headers))
                if status == 200:
                    web.bodies.append(body)
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def texts(self):
        return [HEADER.sub("", line) for line in b"".join(self.bodies).decode().splitlines()]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def pem(tmp_path):
    folder = tmp_path / "pem"
    folder.mkdir()
    certificate(folder)
    return folder


@pytest.fixture
def web():
    made = []

    def make(tls=None):
        made.append(Web(tls))
        return made[-1]
    yield make
    for w in made:
        w.close()


def push(server, lines, app="shop", **labels):
    wait_for("the push", lambda: server.push({"app": app, **labels}, lines).status == 204)


def numbered(n, first=0):
    return [f"line {i:06d}" for i in range(first, first + n)]


def cli(server, *args):
    return subprocess.run([sawlog.SAWLOG, "drain", *args], capture_output=True, text=True,
                          env={**os.environ, "SAWLOG_ADDR": server.url}, timeout=sawlog.PATIENCE)


def ok(server, *args):
    done = cli(server, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def drains(server, app=None):
    found = json.loads(ok(server, "list", "-o", "json"))
    return [d for d in found if not app or d["app"] == app]


def add(server, app, url):
    answer = server.call("POST", "/api/v1/drains", json.dumps({"app": app, "url": url}).encode())
    assert answer.status in (200, 201), answer.text
    return answer.json()["id"]


def running(server, n=1):
    """Wait until so many drains have an output, which begins where they were added."""
    wait_for("the drains run", lambda: [d["state"] for d in drains(server)].count("running") >= n)


PRIVATE = "drains: {allow_private: true}\n"


# --- the syslog output --------------------------------------------------------------------------


@needs_rsyslogd
def test_rsyslogd_over_tcp(nodes):
    """RFC 5424 as rsyslogd reads it: fields, structured data, lines of several lines, in order."""
    r = Rsyslogd(nodes.folder).start()
    s = nodes.server(config=f"outputs: [{{syslog: {{url: 'syslog://127.0.0.1:{r.port}', match: '{{app=\"shop\"}}'}}}}]\n")
    lines = numbered(3000)
    push(s, [(time.time_ns() + i, line, {"pid": "77", "user": 'a"b]'}) for i, line in enumerate(lines)], host="web1")
    wait_for("all lines", lambda: len(r.texts()) >= len(lines))
    assert r.texts() == lines
    app, proc, host, pri, data, _ = r.rows()[0]
    assert (app, proc, host, pri) == ("shop", "77", "web1", "14")
    assert 'user="a\\"b\\]"' in data
    push(s, ["one\ntwo"])
    wait_for("the message", lambda: len(r.texts()) > len(lines))
    assert r.texts()[-1] == "one#012two"
    r.close()


@needs_rsyslogd
def test_rsyslogd_over_tls(nodes, pem):
    """With the CA the lines come; without it nothing is sent, and why is told."""
    r = Rsyslogd(nodes.folder, tls=pem).start()
    text = ("outputs:\n  - syslog: {{name: a, url: 'syslog-tls://localhost:{port}'{tls}}}\n")
    s = nodes.server(config=text.format(port=r.port, tls=f", tls: {{ca: {pem}/cert.pem}}"))
    push(s, numbered(500))
    wait_for("all lines", lambda: len(r.texts()) >= 500)
    assert r.texts() == numbered(500)
    s.config.write_text(text.format(port=r.port, tls=""))
    assert s.call("POST", "/-/reload").status < 300
    push(s, ["secret"])
    wait_for("it fails", lambda: "certificate" in s.err)
    assert "secret" not in r.texts()
    s.stop()
    r.close()


@needs_rsyslogd
def test_rsyslogd_over_udp(nodes):
    r = Rsyslogd(nodes.folder, udp=True).start()
    s = nodes.server(config=f"outputs: [{{syslog: {{url: 'syslog-udp://127.0.0.1:{r.port}'}}}}]\n")
    push(s, numbered(50))
    wait_for("the lines", lambda: len(r.texts()) >= 50)
    assert r.texts() == numbered(50)
    s.stop()
    r.close()


@needs_rsyslogd
def test_rsyslogd_is_killed(nodes):
    """Killed while lines flow, and started again: none is missing, in order but for what comes again."""
    r = Rsyslogd(nodes.folder).start()
    s = nodes.server(config=f"outputs: [{{syslog: {{url: 'syslog://127.0.0.1:{r.port}'}}}}]\n")
    n = 0
    for _ in range(3):
        for _ in range(10):
            push(s, numbered(200, n))
            n += 200
            time.sleep(0.03)
        r.kill(signal.SIGKILL)
        push(s, numbered(200, n))
        n += 200
        r.start()
    wait_for("all lines", lambda: len(set(r.texts())) >= n, 60)
    in_order_at_least_once(r.texts(), numbered(n))
    s.stop()
    r.close()


def in_order_at_least_once(got, wanted):
    """Each line, and none before one that was not there yet."""
    at = 0
    position = {line: i for i, line in enumerate(wanted)}
    for line in got:
        i = position[line]
        assert i <= at, f"{line} came before {wanted[at]}"
        at = max(at, i + 1)
    assert at == len(wanted)


def test_peer_resets_with_lines_unread(nodes, peer):
    """What a peer's system had taken and its program had not read when it died is sent again."""
    s = nodes.server(config=f"outputs: [{{syslog: {{url: 'syslog://127.0.0.1:{peer.port}'}}}}]\n")
    push(s, numbered(100))
    wait_for("the first lines", lambda: len(peer.messages()) >= 100)
    time.sleep(2.5)
    peer.reads = False
    time.sleep(0.1)
    push(s, numbered(100, 100))
    time.sleep(0.5)
    peer.reset()
    peer.reads = True
    wait_for("all lines", lambda: len(set(peer.texts())) == 200)
    in_order_at_least_once(peer.texts(), numbered(200))
    assert peer.connections == 2
    # What was settled long before does not come again.
    assert peer.texts().count("line 000050") == 1


def test_peer_closes_while_nothing_flows(nodes, peer):
    """The first line after a peer has ended the connection is not lost, nor are lines sent twice."""
    s = nodes.server(config=f"outputs: [{{syslog: {{url: 'syslog://127.0.0.1:{peer.port}'}}}}]\n")
    push(s, numbered(10))
    wait_for("the first lines", lambda: len(peer.messages()) >= 10)
    time.sleep(2.5)
    for sock in peer.socks:
        sock.shutdown(socket.SHUT_RDWR)
    push(s, numbered(10, 10))
    wait_for("all lines", lambda: len(peer.messages()) >= 20)
    assert peer.texts() == numbered(20)


def test_peer_does_not_read(nodes, peer):
    """It holds up nobody; when it reads again everything comes, in order."""
    s = nodes.server(config=f"outputs: [{{syslog: {{name: slow, url: 'syslog://127.0.0.1:{peer.port}'}}}}]\n")
    peer.reads = False
    long = "x" * 2000
    for k in range(10):
        push(s, [f"{line} {long}" for line in numbered(1000, 1000 * k)])
    assert len(s.lines('{app="shop"}')) == 10000
    peer.reads = True
    wait_for("all lines", lambda: sum(map(len, peer.data)) > 20_000_000 and len(peer.messages()) >= 10000, 60)
    in_order_at_least_once([t.split(" x")[0] for t in peer.texts()], numbered(10000))


def test_stop_and_start_sends_nothing_twice(nodes, peer):
    s = nodes.server(config=f"outputs: [{{syslog: {{url: 'syslog://127.0.0.1:{peer.port}'}}}}]\n")
    for k in range(3):
        push(s, numbered(100, 100 * k))
        assert s.stop() == 0
        s.start()
    wait_for("all lines", lambda: len(peer.messages()) >= 300)
    assert peer.texts() == numbered(300)


def test_server_is_killed_in_mid_drain(nodes, peer):
    """kill -9 while lines flow: after the start all are there, in order, the last second perhaps twice."""
    s = nodes.server(config=f"outputs: [{{syslog: {{url: 'syslog://127.0.0.1:{peer.port}'}}}}]\n")
    n = 0
    for _ in range(3):
        for _ in range(5):
            push(s, numbered(300, n))
            n += 300
        s.kill()
        s.start()
    wait_for("all lines", lambda: len(set(peer.texts())) >= n, 60)
    in_order_at_least_once(peer.texts(), numbered(n))


def test_order_of_each_stream(nodes, peer):
    s = nodes.server(config=f"outputs: [{{syslog: {{url: 'syslog://127.0.0.1:{peer.port}', tags: false}}}}]\n")
    apps = [f"app{i}" for i in range(8)]

    def send(app):
        for k in range(20):
            push(s, [f"{app} {line}" for line in numbered(25, 25 * k)], app=app)
    threads = [threading.Thread(target=send, args=(app,)) for app in apps]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait_for("all lines", lambda: len(peer.messages()) >= 8 * 500)
    for app in apps:
        mine = [t for t in peer.texts() if t.startswith(app + " ")]
        assert mine == [f"{app} {line}" for line in numbered(500)]


def test_shapes_to_the_byte(nodes, peer):
    """Octet counts and lines as the generations of Loggregator had them."""
    s = nodes.server(config="outputs:\n" + "".join(
        f"  - syslog: {{name: s{i}, url: 'syslog://127.0.0.1:{peer.port}', format: {shape}, tags: false, match: '{{app=\"a\"}}'}}\n"
        for i, shape in enumerate(["loggregator", "loggregator-2016", "loggregator-2014", "loggregator-2013"])))
    ns = 1795255200123450000
    push(s, [(ns, "err", {"message_type": "ERR", "instance_id": "2", "source_type": "App"})], app="a",
         input="loggregator", source="App/2")
    wait_for("four messages", lambda: len(peer.messages()) >= 4)
    host = socket.gethostname()
    wanted = [
        f"<11>1 2026-11-21T10:00:00.123450+00:00 {host} a [APP/2] - - err\n",
        "<11>1 2026-11-21T10:00:00.12345+00:00 loggregator a [APP/2] - - err\n",
        "<11>1 2026-11-21T10:00:00+00:00 loggregator a [App/2] - - err\n",
        "<11>1 2026-11-21T10:00:00+00:00 loggregator a App - - err\n"]
    assert sorted(b"".join(peer.data).decode().split("\n")) == sorted(
        "".join(f"{len(m)} {m}" for m in wanted).split("\n"))


def test_private_targets(nodes):
    """An address that is private is refused when it is connected to, whatever its name."""
    s = nodes.server(config="outputs: [{syslog: {name: out, url: 'syslog://10.255.255.1:514'}}]\n")
    push(s, ["x"])
    wait_for("it is refused", lambda: "private or link-local" in s.err)


# --- https --------------------------------------------------------------------------------------


def test_https_one_message_a_request(nodes, web, pem):
    w = web(pem)
    s = nodes.server(config=f"outputs: [{{https: {{name: w, url: 'https://u:p%40s@localhost:{w.port}/in/?a=b', "
                            f"format: loggregator, tags: false, tls: {{ca: {pem}/cert.pem}}}}}}]\n")
    push(s, numbered(20))
    wait_for("all requests", lambda: len(w.bodies) >= 20)
    assert w.texts() == numbered(20)
    assert all(body.endswith(b"\n") for body in w.bodies)
    assert set(w.paths) == {"/in/?a=b"}
    assert w.headers[0]["Authorization"] == "Basic dTpwQHM="
    assert w.headers[0]["Content-Type"].startswith("text/plain")
    assert "p%40s" not in s.get("/config").text


def test_https_answers(nodes, web):
    """5xx and 429 are tried again, a message that is refused is passed by and counted."""
    w = web()
    s = nodes.server(config=f"outputs: [{{https: {{name: w, url: 'http://127.0.0.1:{w.port}/', tags: false}}}}]\n")
    w.answers = [503, 429, lambda body: 400 if b"000000" in body else 200]
    push(s, numbered(3))
    wait_for("the others", lambda: len(w.bodies) >= 2)
    assert w.texts() == numbered(2, 1)
    wait_for("it is counted", lambda: s.metric("sawlog_output_skipped_records_total", output="w") == 1)
    assert "passed by" in s.err


def test_https_redirects_are_not_followed(nodes, web):
    w = web()
    s = nodes.server(config=f"outputs: [{{https: {{name: w, url: 'http://127.0.0.1:{w.port}/'}}}}]\n")
    w.answers = [307]
    push(s, ["x"])
    wait_for("it is told", lambda: "redirects are not followed" in s.err)
    wait_for("it is tried again", lambda: w.bodies)
    assert set(w.paths) == {"/"}


def test_https_batches(nodes, web):
    """Up to 512 KiB or a second in a request; one that is too large is halved; what is refused is counted."""
    w = web()
    s = nodes.server(config=f"outputs: [{{https-batch: {{name: w, url: 'http://127.0.0.1:{w.port}/', tags: false}}}}]\n")
    lines = numbered(5000)
    push(s, [f"{line} {'x' * 300}" for line in lines])
    wait_for("all lines", lambda: len(w.texts()) >= 5000)
    assert [t.split(" x")[0] for t in w.texts()] == lines
    assert 3 < len(w.bodies) < 20
    assert max(len(b) for b in w.bodies) <= 512 << 10
    w.bodies.clear()
    w.max_body = 3000
    push(s, [*numbered(50), "x" * 4000, *numbered(50, 50)])
    wait_for("all that fit", lambda: len(w.texts()) >= 100)
    assert w.texts() == numbered(100)
    wait_for("one is counted", lambda: s.metric("sawlog_output_skipped_records_total", output="w") == 1)


# --- drains ---------------------------------------------------------------------------------------


def test_command(nodes, peer):
    """add, list, pause, resume, rewind, remove."""
    s = nodes.server(config=PRIVATE)
    push(s, ["before"])
    url = f"syslog://127.0.0.1:{peer.port}"
    drain = ok(s, "add", "shop", url)
    assert re.fullmatch(r"drain-[0-9a-f]{12}", drain)
    assert ok(s, "add", "shop", url) == drain
    running(s)
    push(s, ["one"])
    push(s, ["of another"], app="other")
    wait_for("its line", lambda: peer.texts() == ["one"])
    table = ok(s, "list")
    assert drain in table and url in table and "api" in table
    ok(s, "pause", drain)
    push(s, ["two"])
    time.sleep(0.5)
    assert peer.texts() == ["one"]
    assert drains(s)[0]["state"] == "paused" and drains(s)[0]["behind"] >= 1
    ok(s, "resume", drain)
    wait_for("the next line", lambda: peer.texts() == ["one", "two"])
    ok(s, "rewind", drain, "--to", "begin")
    wait_for("all lines", lambda: peer.texts() == ["one", "two", "before", "one", "two"])
    ok(s, "remove", drain)
    wait_for("it is gone", lambda: drains(s) == [])
    wait_for("its folder is gone", lambda: not (s.data / "outputs" / drain).exists())
    push(s, ["three"])
    time.sleep(0.5)
    assert "three" not in peer.texts()
    assert cli(s, "remove", drain).returncode != 0
    # Its place was forgotten: it begins with what comes.
    ok(s, "add", "shop", url)
    running(s)
    push(s, ["four"])
    wait_for("the last line", lambda: peer.texts()[-1] == "four")
    assert "three" not in peer.texts()


def test_api(nodes):
    s = nodes.server(config="drains: {max_per_app: 2, max: 3}\n")

    def post(body):
        return s.call("POST", "/api/v1/drains", body if isinstance(body, bytes) else json.dumps(body).encode())
    assert post(b"{").status == 400
    assert post({"app": "a"}).status == 400
    assert post({"app": "", "url": "syslog://example.com"}).status == 400
    assert post({"app": "a", "url": "ftp://example.com"}).status == 400
    answer = post({"app": "a", "url": "syslog://example.com/?drain-type=metric"})
    assert answer.status == 400 and "logs, metrics or all" in answer.text
    for url in ["syslog://127.0.0.1:1", "https://localhost/", "https://10.0.0.1/", "https://169.254.169.254/"]:
        answer = post({"app": "a", "url": url})
        assert answer.status == 403 and "allow_private" in answer.text, (url, answer.text)
    one = post({"app": "a", "url": "syslog://203.0.113.1:1"})
    assert one.status == 201
    assert post({"app": "a", "url": "syslog://203.0.113.1:1"}).status == 200
    assert post({"app": "a", "url": "https://user:secret@203.0.113.1/x?token=secret"}).status == 201
    assert post({"app": "a", "url": "syslog://203.0.113.3:1"}).status == 413
    assert post({"app": "b", "url": "syslog://203.0.113.3:1"}).status == 201
    assert post({"app": "c", "url": "syslog://203.0.113.3:1"}).status == 413
    text = s.get("/api/v1/drains").text
    assert len(json.loads(text)["drains"]) == 3 and "secret" not in text
    # Another tenant sees none, and ends none.
    assert s.get("/api/v1/drains", headers={"X-Scope-OrgID": "t2"}).json() == {"drains": []}
    path = f"/api/v1/drains/{one.json()['id']}"
    assert s.call("DELETE", path, headers={"X-Scope-OrgID": "t2"}).status == 404
    assert s.call("DELETE", path).status == 204
    assert s.call("DELETE", path).status == 404


def test_bindings_outlast_restarts(nodes, peer):
    """A drain and its place are kept, and lines of the time in between come; a damaged file is told and put aside."""
    s = nodes.server(config=PRIVATE)
    drain = add(s, "shop", f"syslog://127.0.0.1:{peer.port}")
    push(s, numbered(10))
    wait_for("the lines", lambda: len(peer.messages()) >= 10)
    s.kill()
    s.start()
    push(s, numbered(10, 10))
    wait_for("all lines", lambda: len(set(peer.texts())) >= 20)
    in_order_at_least_once(peer.texts(), numbered(20))
    assert [d["id"] for d in drains(s)] == [drain]
    assert (s.data / "outputs/drain-bindings").stat().st_mode & 0o77 == 0
    s.stop()
    (s.data / "outputs/drain-bindings").write_text('{"version":1,"drains":[{]}')
    s.start()
    assert drains(s) == [] and "put aside" in s.err


def test_configuration(nodes, peer):
    """Drains of the file; a reload adds and ends them, and the API cannot end them."""
    text = "drains:\n  apps:\n    shop: ['syslog://127.0.0.1:%d', 'syslog://127.0.0.1:%d/?drain-type=all']\n"
    s = nodes.server(config=text % (peer.port, peer.port))
    running(s, 2)
    push(s, ["x"])
    wait_for("both", lambda: peer.texts() == ["x", "x"])
    one = drains(s)[0]
    assert one["origins"] == ["config"]
    answer = s.call("DELETE", f"/api/v1/drains/{one['id']}")
    assert answer.status == 403 and "configuration" in answer.text
    s.config.write_text(f"drains: {{apps: {{shop: 'syslog://127.0.0.1:{peer.port}'}}, format: loggregator-2013}}\n")
    assert s.call("POST", "/-/reload").status < 300
    wait_for("one is left", lambda: len(drains(s)) == 1)
    running(s)
    push(s, ["y"])
    wait_for("its line", lambda: any(b" loggregator shop " in m and b" y\n" in m for m in peer.messages()))
    s.config.write_text("drains: {apps: {shop: 'ftp://x'}}\n")
    answer = s.call("POST", "/-/reload")
    assert answer.status >= 400 and "a drain's URL is" in answer.text
    assert len(drains(s)) == 1


def test_metrics_and_logs_are_told_apart(nodes, peer):
    s = nodes.server(config=PRIVATE)
    base = f"syslog://127.0.0.1:{peer.port}/"
    other = Peer()
    add(s, "shop", base)
    add(s, "shop", f"syslog://127.0.0.1:{other.port}/?drain-type=metrics&disable-metadata=true")
    running(s, 2)
    push(s, ["a line"])
    push(s, ["requests 3"], event="counter", input="loki")
    wait_for("the line", lambda: peer.texts() == ["a line"])
    wait_for("the metric", lambda: len(other.messages()) == 1)
    assert b"requests" in other.messages()[0] and b"tags@47450" not in other.messages()[0]
    assert len(peer.messages()) == 1
    other.close()


def test_another_label_names_applications(nodes, peer):
    """loggregator.app_label, for matches and for what is told."""
    s = nodes.server(config=PRIVATE + "loggregator: {app_label: service}\n")
    add(s, "shop", f"syslog://127.0.0.1:{peer.port}")
    add(s, "shop", f"syslog://127.0.0.1:{free_port()}")
    push(s, ["no"], app="shop")
    push(s, ["yes"], app="x", service="shop")
    wait_for("its line", lambda: "yes" in peer.texts())
    wait_for("a note", lambda: s.lines('{service="shop", source="LGR"}'))
    assert "no" not in peer.texts()


def test_a_hanging_target_is_not_waited_for(nodes, peer):
    """Drains to a target that answers nothing end at once, and a stop does not wait for them."""
    s = nodes.server(config=PRIVATE)
    peer.reads = False
    ids = [add(s, f"app{i}", f"syslog://127.0.0.1:{peer.port}") for i in range(5)]
    for i in range(5):
        push(s, ["x" * 60000] * 100, app=f"app{i}")
    time.sleep(1)
    begin = time.monotonic()
    for drain in ids[:3]:
        ok(s, "remove", drain)
    wait_for("they are gone", lambda: {o["name"] for o in s.get("/api/v1/outputs").json()["outputs"]} == set(ids[3:]))
    assert time.monotonic() - begin < 12
    begin = time.monotonic()
    assert s.stop() == 0
    assert time.monotonic() - begin < 9


def test_what_is_told_in_the_stream(nodes):
    """A drain that cannot connect says so in its application's stream, at most once a minute, and that it works
    again; its own notes are delivered like any line, and make no further ones."""
    port = free_port()
    s = nodes.server(config=PRIVATE)
    add(s, "shop", f"https://u:secret@127.0.0.1:{free_port()}/x?token=secret")
    drain = add(s, "shop", f"syslog://127.0.0.1:{port}")
    push(s, ["x"])
    notes = '{app="shop", source="LGR"}'
    wait_for("notes", lambda: len(s.lines(notes)) >= 2)
    time.sleep(4)
    found = s.lines(notes)
    assert len(found) == 2, found
    assert any(re.match(rf"Syslog Sink syslog://127.0.0.1:{port}: Error when dialing out. Backing off for [0-9.]+s. "
                        r"Err: .*connection refused", line) for line in found)
    assert not any("secret" in line for line in found)
    _, _, labels = s.entries(notes)[0]
    assert labels["input"] == "loggregator" and labels["message_type"] == "ERR"
    p = Peer(port)
    ok(s, "resume", drain)
    wait_for("it works again", lambda: any("delivers again" in line for line in s.lines(notes)))
    wait_for("the notes are delivered", lambda: any("delivers again" in t for t in p.texts()))
    assert "x" in p.texts()
    p.close()


def test_overtaken_by_retention(nodes):
    """What retention took before it was delivered is counted and told in the application's stream."""
    s = nodes.server(config=PRIVATE + "retention: {size: 16MiB}\n")
    drain = add(s, "shop", f"syslog://127.0.0.1:{free_port()}")
    wait_for("it fails", lambda: drains(s)[0]["state"] == "failing" or push(s, ["x"]))
    for k in range(60):
        push(s, [base64.b64encode(os.urandom(1200)).decode() for _ in range(1000)])
        if k % 5 == 4:
            s.call("POST", "/-/flush")
            if drains(s)[0]["missed"]:
                break
    wait_for("it is missed", lambda: drains(s)[0]["missed"] > 0, 60)
    wait_for("it is told", lambda: any(
        re.match(r"up to \d+ messages lost for application shop in user provided syslog drain with url syslog://", line)
        for line in s.lines('{app="shop", source="LGR"}')), 60)
    assert drains(s)[0]["id"] == drain


def test_drain_urls_of_messages(nodes, peer):
    """The drains that an application's messages name: added with the message itself, exchanged, and ended."""
    import loggregator as lg
    udp = free_port()
    s = nodes.server(config="drains: {from_envelopes: true, allow_private: true}\n"
                            f"inputs: [{{loggregator: {{listen: 'udp://127.0.0.1:{udp}'}}}}]\n")
    wait_for("drain urls are followed", lambda: (s.data / "outputs/drain-urls").exists())
    other = Peer()

    def emit(text, *urls):
        message = lg.LogMessage(message=text.encode(), app="shop", timestamp=time.time_ns(),
                                source_type=lg.WARDEN_CONTAINER, source_id="0", drains=list(urls))
        with lg.Datagrams(("127.0.0.1", udp)) as d:
            d.send(message.encode())
    one, two = (f"syslog://127.0.0.1:{p.port}" for p in (peer, other))
    emit("first", one)
    wait_for("the very message", lambda: peer.texts() == ["first"])
    assert drains(s)[0]["origins"] == ["envelope"]
    emit("second", two)
    wait_for("the other has it", lambda: other.texts() == ["second"])
    wait_for("the first has ended", lambda: [d["url"] for d in drains(s)] == [two])
    emit("third", two, "ftp://nonsense")
    wait_for("it is told", lambda: any("is no drain here" in line for line in s.lines('{app="shop", source="LGR"}')))
    emit("last")
    wait_for("none is left", lambda: drains(s) == [])
    emit("after")
    time.sleep(0.5)
    # The message that ends a drain may go there yet, no later one does.
    assert "after" not in other.texts() and "third" not in peer.texts()
    other.close()


def test_drain_urls_are_not_followed_by_default(nodes, peer):
    import loggregator as lg
    udp = free_port()
    s = nodes.server(config=PRIVATE + f"inputs: [{{loggregator: {{listen: 'udp://127.0.0.1:{udp}'}}}}]\n")
    message = lg.LogMessage(message=b"x", app="shop", timestamp=time.time_ns(), source_type=lg.WARDEN_CONTAINER,
                            source_id="0", drains=[f"syslog://127.0.0.1:{peer.port}"])
    with lg.Datagrams(("127.0.0.1", udp)) as d:
        d.send(message.encode())
    wait_for("the message", lambda: s.lines('{app="shop"}'))
    time.sleep(0.5)
    assert drains(s) == [] and peer.connections == 0


@needs_rsyslogd
def test_many_drains(nodes, pem):
    """20 applications, each with a drain to rsyslogd over TCP or TLS: each gets its own lines, in order."""
    plain, tls = Rsyslogd(nodes.folder, "plain").start(), Rsyslogd(nodes.folder, "tls", tls=pem).start()
    s = nodes.server(config=f"drains: {{allow_private: true, tls: {{ca: {pem}/cert.pem}}}}\n")
    apps = [f"app{i:02d}" for i in range(20)]
    for i, app in enumerate(apps):
        add(s, app, f"syslog-tls://localhost:{tls.port}" if i % 2 else f"syslog://127.0.0.1:{plain.port}")
    for k in range(5):
        for app in apps:
            push(s, [f"{app} {line}" for line in numbered(40, 40 * k)], app=app)
    for i, app in enumerate(apps):
        where = tls if i % 2 else plain
        wait_for(f"lines of {app}", lambda: sum(row[0] == app for row in where.rows()) >= 200, 40)
        assert [row[5].strip() for row in where.rows() if row[0] == app] == [f"{app} {x}" for x in numbered(200)]
    s.stop()
    plain.close()
    tls.close()
