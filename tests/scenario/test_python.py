# SPDX-License-Identifier: Apache-2.0
"""The python input with the real handlers of CPython's logging; hostile senders; reload and stop."""
import http.client
import logging
import logging.handlers
import pickle
import queue
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sawlog
from sawlog import free_port, wait_for

FRAME_MAX = 16 << 20


def config_of(settings, kind="python"):
    return f"inputs:\n  - {kind}: {{{settings}}}\n"


@pytest.fixture
def start(nodes):
    """start("listen: […]", …): a server with one input."""
    def start(settings, kind="python", **kw):
        return nodes.server(config=config_of(settings, kind), **kw)

    return start


@pytest.fixture
def logger_of():
    """logger_of(handler, name): a logger that writes to it alone; closed with the test."""
    made = []

    def logger_of(handler, name="shop.orders"):
        logger = logging.Logger(name, logging.DEBUG)
        logger.addHandler(handler)
        made.append(handler)
        return logger

    yield logger_of
    for handler in made:
        handler.close()


@pytest.fixture(autouse=True)
def handlers_raise(monkeypatch):
    """What a handler swallows is an error of the test."""
    def fail(self, record):
        raise sys.exc_info()[1]

    monkeypatch.setattr(logging.Handler, "handleError", fail)
    monkeypatch.setattr(logging.handlers.SocketHandler, "handleError", fail)


def only(server, logql='{input="python"}', n=1):
    """The n entries there are, once they are there."""
    found = wait_for(f"{n} of {logql}",
                     lambda: (lambda e: e if len(e) >= n else None)(server.entries(logql)))
    assert len(found) == n
    return found


def dropped(server, **labels):
    return server.metric("sawlog_dropped_records_total", input="python", **labels)


def log_all(logger):
    """One of each kind."""
    logger.info("order %d paid für %s €", 42, "Zoë", extra={"order": 42, "who": ["a", None]})
    logger.log(25, "between %(a)s", {"a": 1})
    try:
        raise ValueError("no stock")
    except ValueError:
        logger.exception("failed")


def check_all(server):
    found = only(server, n=3)
    by_line = {line.split("\n")[0]: (ns, line, labels) for ns, line, labels in found}
    ns, line, labels = by_line["order 42 paid für Zoë €"]
    assert abs(ns - time.time_ns()) < 60e9
    assert labels["logger"] == "shop.orders" and labels["app"] == "python"
    assert labels["input"] == "python" and labels["host"] == socket.gethostname().split(".")[0]
    assert labels["detected_level"] == "info" and labels["severity"] == "INFO" and labels["levelno"] == "20"
    assert labels["funcName"] == "log_all" and labels["processName"] == "MainProcess"
    assert labels["threadName"] == "MainThread" and int(labels["lineno"]) > 0
    assert labels["pathname"].endswith("test_python.py")
    assert labels["order"] == "42" and labels["who"] == "['a', None]"
    assert by_line["between 1"][2]["levelno"] == "25"
    _, line, labels = by_line["failed"]
    assert labels["detected_level"] == "error"
    return line


@pytest.mark.parametrize("scheme", ["tcp", "udp", "unix", "unix-dgram"])
def test_sockets(start, nodes, logger_of, scheme):
    where = str(nodes.folder / "log") if "unix" in scheme else free_port()
    server = start(f"listen: ['{scheme}://{where if 'unix' in scheme else f'127.0.0.1:{where}'}']")
    kind = logging.handlers.SocketHandler if scheme in ("tcp", "unix") else logging.handlers.DatagramHandler
    handler = kind(where, None) if "unix" in scheme else kind("127.0.0.1", where)
    log_all(logger_of(handler))
    line = check_all(server)
    assert line.startswith("failed\nTraceback (most recent call last):\n")
    assert line.endswith("\nValueError: no stock")
    assert dropped(server) == 0


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_http(start, logger_of, method, own):
    """At the API's /python, and at a listener of its own at any path; msg and args come unmerged."""
    port = free_port()
    server = start(f"listen: ['{'http' if own else 'tcp'}://127.0.0.1:{port}{'/log/in' if own else ''}']")
    handler = logging.handlers.HTTPHandler(f"127.0.0.1:{port if own else server.port}",
                                           "/log/in" if own else "/python", method=method)
    log_all(logger_of(handler))
    # The answer came after the commit: no wait.
    assert len(server.entries('{input="python"}')) == 3
    check_all(server)


@pytest.mark.parametrize("own", [False, True])
def test_head_stores_nothing(start, own):
    """Whoever looks whether something listens there makes no record; GET with the same query does."""
    port = free_port()
    server = start(f"listen: ['{'http' if own else 'tcp'}://127.0.0.1:{port}']")
    at, path = (port, "/") if own else (server.port, "/python")
    for method, n in ("HEAD", 0), ("GET", 1):
        connection = http.client.HTTPConnection("127.0.0.1", at, timeout=20)
        connection.request(method, f"{path}?name=a&msg=looked&levelno=20")
        assert connection.getresponse().status == 200
        connection.close()
        assert len(server.entries('{input="python"}')) == n


def test_http_credentials(nodes, logger_of):
    """HTTPHandler's credentials are a token; without one nothing gets in, and the tenant is the token's."""
    tokens, port = nodes.folder / "tokens", free_port()

    def token(scope):
        made = sawlog.run("token", "create", "--tokens-file", tokens, "--scope", scope, "--tenant", "acme", scope)
        assert made.returncode == 0, made.stderr
        return made.stdout.decode().strip()

    secret, reader = token("ingest"), token("read")
    server = nodes.server(start=False, config=f"auth: {{tokens_file: {tokens}}}\n" + config_of(
        f"listen: ['http://127.0.0.1:{port}/in'], token: true"))
    server.start(wait=False)
    wait_for("it listens", lambda: "inputs running" in server.out)
    for where, url in (f"127.0.0.1:{port}", "/in"), (f"127.0.0.1:{server.port}", "/python"):
        for password in secret, "slt_wrong", reader, None:
            handler = logging.handlers.HTTPHandler(where, url, method="POST")
            handler.credentials = password and ("anybody", password)
            logger_of(handler).info("%s: %s", url, password == secret)
    answer = server.get("/loki/api/v1/query_range", {"query": '{input="python"}', "since": "1h"},
                        {"Authorization": f"Bearer {reader}"})
    assert answer.status == 200, answer.text
    lines = sorted(v[1] for s in answer.json()["data"]["result"] for v in s["values"])
    assert lines == ["/in: True", "/python: True"]
    made = sawlog.run("token", "create", "--tokens-file", tokens, "--scope", "admin", "--tenant", "*", "m")
    admin = {"Authorization": f"Bearer {made.stdout.decode().strip()}"}
    wait_for("the refusals are counted", lambda: sum(
        float(x.rsplit(" ", 1)[1]) for x in server.get("/metrics", headers=admin).text.splitlines()
        if x.startswith("sawlog_rejected_records_total{") and 'input="python"' in x and 'reason="denied"' in x) == 6)


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "3", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    (folder / "key.pem").chmod(0o600)
    return folder


def test_tls(start, logger_of, pem):
    """HTTPHandler over https, and a SocketHandler whose socket is wrapped."""
    http, tls = free_port(), free_port()
    server = start(f"listen: ['https://127.0.0.1:{http}', 'tls://127.0.0.1:{tls}'], "
                   f"tls: {{cert: {pem}/cert.pem, key: {pem}/key.pem}}")
    context = ssl.create_default_context(cafile=pem / "cert.pem")

    class TlsHandler(logging.handlers.SocketHandler):
        def makeSocket(self, timeout=10):
            return context.wrap_socket(super().makeSocket(timeout), server_hostname=self.host)

    logger_of(logging.handlers.HTTPHandler(f"127.0.0.1:{http}", "/", secure=True, context=context)).info("by https")
    logger_of(TlsHandler("127.0.0.1", tls)).info("by tls")
    assert sorted(line for _, line, _ in only(server, n=2)) == ["by https", "by tls"]


def test_forwarded(nodes, server, logger_of):
    """A forwarder without a config file takes the records in and brings them home."""
    port = free_port()
    forwarder = nodes.forwarder(server, args=("--input", f"python=tcp://127.0.0.1:{port}"))
    wait_for("it listens", lambda: _listens(forwarder, port))
    log_all(logger_of(logging.handlers.SocketHandler("127.0.0.1", port)))
    check_all(server)


def _listens(process, port):
    assert process.running, process.err
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def test_queue_handler(start, logger_of):
    """A QueueHandler before it has merged everything into the text."""
    port = free_port()
    server = start(f"listen: ['tcp://127.0.0.1:{port}'], app: shop, labels: {{site: x}}")
    handler = logging.handlers.SocketHandler("127.0.0.1", port)
    waiting = queue.Queue()
    listener = logging.handlers.QueueListener(waiting, handler)
    listener.start()
    log_all(logger_of(logging.handlers.QueueHandler(waiting)))
    listener.stop()
    handler.close()
    found = only(server, n=3)
    assert {labels["app"] for _, _, labels in found} == {"shop"}
    assert {labels["site"] for _, _, labels in found} == {"x"}
    assert "order 42 paid für Zoë €" in [line for _, line, _ in found]
    assert any(line.endswith("ValueError: no stock") for _, line, _ in found)


@pytest.mark.parametrize("scheme", ["tcp", "udp", "unix", "unix-dgram"])
def test_syslog_handler(start, nodes, logger_of, scheme):
    """SysLogHandler, whose messages end in a NUL and have no header, goes to the syslog input."""
    where = str(nodes.folder / "log") if "unix" in scheme else ("127.0.0.1", free_port())
    url = where if "unix" in scheme else f"127.0.0.1:{where[1]}"
    server = start(f"listen: ['{scheme}://{url}']", kind="syslog")
    handler = logging.handlers.SysLogHandler(
        where, socktype=socket.SOCK_STREAM if scheme in ("tcp", "unix") else socket.SOCK_DGRAM)
    handler.setFormatter(logging.Formatter("shop: %(message)s"))
    logger = logger_of(handler)
    for i in range(3):
        logger.warning("order %d für", i)
    handler.close()
    found = only(server, '{input="syslog"}', 3)
    assert sorted(line for _, line, _ in found) == [f"order {i} für" for i in range(3)]
    assert {labels["app"] for _, _, labels in found} == {"shop"}
    assert {labels["severity"] for _, _, labels in found} == {"warning"}


# W-B1, W-B2: not all arrive, and not in order.


def test_many_processes_in_order(start):
    """Four processes at once: each connection's records are all there, in their order."""
    port, n = free_port(), 2000
    server = start(f"listen: ['tcp://127.0.0.1:{port}']")
    program = ("import logging, logging.handlers, sys\n"
               "logger = logging.getLogger(sys.argv[2])\n"
               "logger.addHandler(logging.handlers.SocketHandler('127.0.0.1', int(sys.argv[1])))\n"
               f"for i in range({n}): logger.warning('%d', i)\n")
    children = [subprocess.Popen([sys.executable, "-c", program, str(port), f"p{i}"]) for i in range(4)]
    assert [c.wait(timeout=60) for c in children] == [0] * 4
    only(server, n=4 * n)
    for i in range(4):
        # In order of commit, as the times of one moment are not sorted.
        lines = server.query(f'{{logger="p{i}"}}', limit=5000)["data"]["result"]
        numbers = [int(line) for s in lines for _, line, *_ in s["values"]]
        assert numbers == sorted(numbers) and sorted(numbers) == list(range(n))
    assert dropped(server) == 0


# W-B3: pickles are programs.


class Bomb:
    def __init__(self, *what):
        self.what = what

    def __reduce__(self):
        return self.what


def hostile(folder):
    """200 pickles that would do something, or are none."""
    touch = f"touch {folder}/pwned"
    import builtins
    import os
    import shutil
    makers = [
        lambda p: pickle.dumps(Bomb(os.system, (touch,)), p),
        lambda p: pickle.dumps({"name": "x", "msg": Bomb(os.system, (touch,)), "args": None}, p),
        lambda p: pickle.dumps({"name": Bomb(builtins.exec, (f"open('{folder}/pwned', 'w')",))}, p),
        lambda p: pickle.dumps(Bomb(subprocess.Popen, (["touch", f"{folder}/pwned"],)), p),
        lambda p: pickle.dumps(Bomb(socket.create_connection, (("127.0.0.1", 9),)), p),
        lambda p: pickle.dumps(Bomb(builtins.__import__, ("antigravity",)), p),
        lambda p: pickle.dumps(Bomb(shutil.rmtree, (str(folder),)), p),
    ]
    made = [make(p) for p in range(6) for make in makers]
    made += [b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.", b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
             b"", b".", b"N.", b"I1\n.", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", b"(" * 100000 + b".",
             b"]" + b"2" * 100000 + b".", b"X\xff\xff\xff\xff.", b"\x8a\xff" + b"\xff" * 255 + b".",
             b"B\xff\xff\xff\x7fx.", b"r\xff\xff\xff\xff.", b"j\xff\xff\xff\xff.", b"T\xff\xff\xff\xff."]
    # References that grow: 2 to the 60th, if anybody spelled it.
    made.append(b"]q\x00" + b"".join(b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(60)) + b".")
    rnd = random.Random(7)
    good = pickle.dumps({"name": "x", "msg": "y", "args": (1, 2), "levelno": 20}, 4)
    while len(made) < 200:
        bytes_ = bytearray(good)
        for _ in range(rnd.randrange(1, 6)):
            bytes_[rnd.randrange(len(bytes_))] = rnd.randrange(256)
        made.append(bytes(bytes_))
    return made


def frame(pickled):
    return struct.pack(">L", len(pickled)) + pickled


def record_frame(text, logger="good"):
    return frame(pickle.dumps({"name": logger, "msg": text, "args": None, "levelno": 20, "levelname": "INFO",
                               "created": time.time()}, 1))


def test_hostile_pickles(start, nodes):
    """Nothing is executed; each costs itself alone, and a connection beside sees nothing of it."""
    port = free_port()
    server = start(f"listen: ['tcp://127.0.0.1:{port}']")
    bad = hostile(nodes.folder)
    # No call of the kernel that makes a file, process or socket, while they are read.
    trace = nodes.folder / "trace"
    tracer = subprocess.Popen(
        ["strace", "-f", "-q", "-o", trace, "-e", "trace=execve,fork,vfork,socket,connect,unlink,rmdir", "-p",
         str(server.child.pid)], stderr=subprocess.DEVNULL) if not sawlog.SANITIZED else None
    try:
        if tracer:
            status = Path(f"/proc/{server.child.pid}/status")
            wait_for("it is traced", lambda: f"TracerPid:\t{tracer.pid}" in status.read_text())
        with socket.create_connection(("127.0.0.1", port)) as other, \
                socket.create_connection(("127.0.0.1", port)) as s:
            for i, data in enumerate(bad):
                s.sendall(frame(data) + record_frame(f"after {i}"))
                other.sendall(record_frame(f"beside {i}", "other"))
            entries = wait_for("the good ones are there", lambda: (
                lambda e: e if len(e) == len(bad) else None)(server.lines('{logger="good"}')))
        assert sorted(entries) == sorted(f"after {i}" for i in range(len(bad)))
        wait_for("the others as well", lambda: len(server.lines('{logger="other"}')) == len(bad))
    finally:
        if tracer:
            tracer.terminate()
            tracer.wait(timeout=20)
    # Each is a record, as far as it can be one, or is counted.
    known = len(server.lines('{input="python"}')) - 2 * len(bad)
    assert known + dropped(server) == len(bad) and dropped(server) > 50
    assert not (nodes.folder / "pwned").exists()
    if tracer:
        calls = [line for line in trace.read_text().splitlines() if "(" in line and "+++" not in line]
        assert calls == []


# W-B4: pieces, halves and lies about the length.


def test_pieces(start):
    """A length that comes in four segments, and whatever else is cut anywhere."""
    port = free_port()
    server = start(f"listen: ['tcp://127.0.0.1:{port}']")
    data = b"".join(record_frame(f"record {i}") for i in range(20))
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), 3):
            s.sendall(data[i:i + 3])
        entries = only(server, n=20)
    assert sorted(line for _, line, _ in entries) == sorted(f"record {i}" for i in range(20))


def test_peers_that_die(start):
    """In the middle of a length and of a frame, by FIN and by reset: counted, and no CPU is spun."""
    port = free_port()
    server = start(f"listen: ['tcp://127.0.0.1:{port}']")
    with socket.create_connection(("127.0.0.1", port)) as healthy:
        for cut in (2, 30, 100):
            for reset in (False, True):
                with socket.create_connection(("127.0.0.1", port)) as s:
                    s.sendall(record_frame("x" * 200)[:cut])
                    if reset:
                        wait_for("it is read", lambda: _unread(port) == 0)
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_for("all are counted", lambda: dropped(server, reason="broken_frame") == 6)
        before = _cpu(server)
        time.sleep(0.5)
        assert _cpu(server) - before < 0.3
        healthy.sendall(record_frame("still here"))
        assert only(server)[0][1] == "still here"


def _unread(port):
    """Bytes in the receive queues of the established connections to the port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(r[4].split(":")[1], 16) for r in rows if r[1].endswith(f":{port:04X}") and r[3] == "01")


def _cpu(server):
    fields = Path(f"/proc/{server.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_lengths_that_lie(start):
    """4 GiB announced holds nothing; a frame over the limit is skipped to its end and counted."""
    port = free_port()
    server = start(f"listen: ['tcp://127.0.0.1:{port}']")
    with socket.create_connection(("127.0.0.1", port)) as liar, \
            socket.create_connection(("127.0.0.1", port)) as s:
        before = server.rss_anon()
        liar.sendall(b"\xff\xff\xff\xff" + bytes(50 << 20))
        wait_for("it is counted", lambda: dropped(server, reason="over_limit") == 1)
        s.sendall(struct.pack(">L", FRAME_MAX + 1) + bytes(FRAME_MAX + 1) + record_frame("behind it"))
        assert only(server)[0][1] == "behind it"
        assert dropped(server, reason="over_limit") == 2
        if not sawlog.SANITIZED:
            assert server.rss_anon() - before < 20 << 20
        # As large as may be: it is a record, cut.
        s.sendall(record_frame("y" * (FRAME_MAX - 300)))
        entries = only(server, n=2)
    assert any(line == "y" * (256 << 10) and int(labels["truncated_from"]) == FRAME_MAX - 300
               for _, line, labels in entries)


def test_halves_crowd_nobody_out(nodes):
    """Many who never end a large frame: what they hold together is bounded, and others are served meanwhile."""
    port = free_port()
    server = nodes.server(config=f"memory: 64MiB\ninputs:\n  - python: {{listen: ['tcp://127.0.0.1:{port}']}}\n")
    wait_for("it listens", lambda: "inputs running" in server.out)
    halves = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(12)]
    peak = 0
    try:
        for s in halves:
            s.sendall(struct.pack(">L", FRAME_MAX) + bytes(FRAME_MAX - (1 << 20)))
            peak = max(peak, server.rss_anon())
            assert server.get("/loki/api/v1/query_range", {"query": '{input="python"}'}).status == 200
        wait_for("most of them lost their frame", lambda: dropped(server, reason="crowded_out") >= 8)
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(record_frame("beside them") + record_frame("x" * (200 << 10)))
            assert {e[1][:6] for e in only(server, n=2)} == {"beside", "xxxxxx"}
        # Who was crowded out goes on behind its frame.
        halves[-1].sendall(bytes(1 << 20) + record_frame("behind it"))
        only(server, n=3)
        if not sawlog.SANITIZED:
            assert peak < 64 << 20
    finally:
        for s in halves:
            s.close()


# W-B5: a stop that hangs, and loses what was received.


def test_stop_keeps_what_came(start):
    """SIGTERM while bytes lie in the kernel's buffers: all of them are stored, and it ends in time."""
    port, n = free_port(), 3000
    server = start(f"listen: ['tcp://127.0.0.1:{port}']")
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(record_frame("first"))
        only(server)
        server.child.send_signal(signal.SIGSTOP)
        s.settimeout(10)
        s.sendall(b"".join(record_frame(f"{i}") for i in range(n)))
        began = time.monotonic()
        server.child.send_signal(signal.SIGTERM)
        server.child.send_signal(signal.SIGCONT)
        assert server.child.wait(timeout=20) == 0
        assert time.monotonic() - began < 15
    server.start()
    assert sorted(server.lines('{input="python"}')) == sorted(["first"] + [str(i) for i in range(n)])


# W-B6: text that is not ASCII.


def test_text_of_all_kinds(start, logger_of):
    port = free_port()
    server = start(f"listen: ['tcp://127.0.0.1:{port}']")
    logger = logger_of(logging.handlers.SocketHandler("127.0.0.1", port), "Größe.日本")
    texts = ["Zürich — 東京 🚀", "tab\tand\nline", "nul \0 inside", "", "100%", "lone \udc80 surrogate"]
    for text in texts:
        logger.info("%s", text)
    entries = only(server, n=len(texts))
    lines = [line for _, line, _ in entries]
    assert all(text in lines for text in texts[:-1])
    assert "lone \ufffd surrogate" in lines
    assert {labels["logger"] for _, _, labels in entries} == {"Größe.日本"}


def test_reload_loses_nothing(start, nodes):
    """Settings change again and again while applications go on: all arrives, once."""
    tcp, http, unix = free_port(), free_port(), nodes.folder / "stream"
    settings = f"listen: ['tcp://127.0.0.1:{tcp}', 'http://127.0.0.1:{http}/in', 'unix://{unix}']"
    server = start(settings)
    sent, end = {}, []

    def send(name, handler):
        logger = logging.Logger(name)
        logger.addHandler(handler)
        while not end:
            logger.warning("%d", sent.setdefault(name, 0))
            sent[name] += 1
            time.sleep(0.001)
        handler.close()

    handlers = {"tcp": logging.handlers.SocketHandler("127.0.0.1", tcp),
                "unix": logging.handlers.SocketHandler(str(unix), None),
                "get": logging.handlers.HTTPHandler(f"127.0.0.1:{http}", "/in"),
                "post": logging.handlers.HTTPHandler(f"127.0.0.1:{http}", "/in", method="POST")}
    threads = [threading.Thread(target=send, args=item, daemon=True) for item in handlers.items()]
    for t in threads:
        t.start()
    wait_for("they send", lambda: len(sent) == 4)
    for i in range(40):
        server.config.write_text(config_of(f"{settings}, labels: {{round: '{i}'}}"))
        answer = server.call("POST", "/-/reload")
        assert answer.status // 100 == 2, answer.text
    end.append(True)
    for t in threads:
        t.join(timeout=30)
        assert not t.is_alive()

    def numbers(name):
        return sorted(int(line) for line in server.lines(f'{{logger="{name}"}}'))

    for name in handlers:
        wait_for(f"all of {name} are there", lambda: len(numbers(name)) >= sent[name])
        assert numbers(name) == list(range(sent[name]))
    assert dropped(server) == 0
    rounds = {labels.get("round") for _, _, labels in server.entries('{logger="tcp"}')}
    assert len(rounds) > 5


def test_reload_that_drops_an_address(start, logger_of):
    """An HTTP listener that is no longer wanted is closed, the others stay."""
    tcp, http = free_port(), free_port()
    server = start(f"listen: ['tcp://127.0.0.1:{tcp}', 'http://127.0.0.1:{http}/in']")
    stays = logger_of(logging.handlers.SocketHandler("127.0.0.1", tcp), "stays")
    stays.info("before")
    logger_of(logging.handlers.HTTPHandler(f"127.0.0.1:{http}", "/in"), "goes").info("before")
    server.config.write_text(config_of(f"listen: ['tcp://127.0.0.1:{tcp}']"))
    answer = server.call("POST", "/-/reload")
    assert answer.status // 100 == 2, answer.text
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", http))
    stays.info("after")
    assert sorted(line for _, line, _ in only(server, n=3)) == ["after", "before", "before"]


# The standard input, as SSHPipe writes to it.


def test_stdin_greeted_by_a_shell(nodes, server):
    """Text before the frames is taken for a length of gigabytes: what it was stands in the log."""
    config = nodes.folder / "greeted.yaml"
    config.write_text(config_of("listen: 'stdin:', app: pipe"))
    ended = subprocess.run(
        [sawlog.SAWLOG, "forward", "--to", server.url, "-c", str(config), "--data", str(nodes.folder / "greeted")],
        input=b"Welcome\r\n" + record_frame("behind it"), capture_output=True, timeout=30)
    assert b'text, "Welc", where the length of a frame stands' in ended.stderr, ended.stderr


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("word", ["TERM", None])
def test_ssh_pipe(nodes, server, protocol, word):
    """Whole LogRecord objects; a word ends it and is printed, so does the end of the pipe."""
    config = nodes.folder / "pipe.yaml"
    config.write_text(config_of("listen: 'stdin:', app: pipe"))
    record = logging.LogRecord("a.b", logging.ERROR, "/x/prog.py", 7, "job %d of %s", (3, "ü"), None, "run")
    child = subprocess.Popen(
        [sawlog.SAWLOG, "forward", "--to", server.url, "--data", nodes.folder / "state", "-c", config, "--quiet"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        for item in [record] * 5 + ([word] if word else []):
            child.stdin.write(frame(pickle.dumps(item, protocol)))
        child.stdin.flush()
        if word:
            assert child.stdout.readline() == word.encode() + b"\n"
        else:
            child.stdin.close()
        assert child.wait(timeout=20) == 0
    finally:
        child.kill()
        child.stdout.close()
        if not child.stdin.closed:
            child.stdin.close()
    found = only(server, '{app="pipe"}', 5)
    assert {line for _, line, _ in found} == {"job 3 of ü"}
    assert found[0][2]["logger"] == "a.b" and found[0][2]["detected_level"] == "error"
