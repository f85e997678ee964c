# SPDX-License-Identifier: Apache-2.0
"""The zeromq input: pyzmq's own PUBHandler, publishers that come and go, reloads, CURVE."""
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import sawlog
from sawlog import wait_for

zmq = pytest.importorskip("zmq")
from zmq.log.handlers import PUBHandler  # noqa: E402

# The formats that NEMO_Nowcast's publishers install.
PLAIN = logging.Formatter("%(message)s\n")


class Publisher:
    """A process' logger with PUBHandler over a socket that knows its subscribers (XPUB)."""

    def __init__(self, root, address, bind=True, formatter=PLAIN, **options):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.linger, self.socket.sndhwm = 5000, 1_000_000
        for name, value in options.items():
            setattr(self.socket, name, value)
        (self.socket.bind if bind else self.socket.connect)(address)
        handler = PUBHandler(self.socket, root_topic=root)
        if formatter:
            handler.setFormatter(formatter)
        self.handler = handler
        self.log = logging.Logger(root or "root", 1)
        self.log.addHandler(handler)

    def subscribed(self, prefix=b""):
        """Wait until somebody takes the messages: what is sent from now on is not lost."""
        assert self.socket.poll(20_000), "nobody subscribes"
        assert self.socket.recv() == b"\x01" + prefix
        return self

    def close(self):
        self.context.destroy()


@pytest.fixture
def publisher():
    made = []

    def make(*args, **kw):
        made.append(Publisher(*args, **kw))
        return made[-1]

    yield make
    for p in made:
        p.close()


def address():
    return f"tcp://127.0.0.1:{sawlog.free_port()}"


def config_of(settings):
    return f"inputs:\n  - zeromq: {{{settings}}}\n"


def got(server, n, logql='{input="zeromq"}'):
    """All records of the query, once there are n: [(line, labels and metadata)]."""
    wait_for(f"{n} records", lambda: server.metric("sawlog_committed_records_total", input="zeromq") >= n)
    return [(line, labels) for _, line, labels in server.entries(logql)]


def test_every_topic(nodes, publisher):
    """W-A1: whatever a message says, and whatever its topic, it is stored and nothing ends."""
    at = {name: address() for name in ("worker", "dots", "empty")}
    connect = ", ".join(f"{name}: '{a}'" for name, a in at.items())
    server = nodes.server(config=config_of(f"connect: {{{connect}}}, levels: {{SUCCESS: info}}"))
    worker = publisher("worker", at["worker"]).subscribed()
    logging.addLevelName(25, "SUCCESS")
    logging.addLevelName(35, "PARTY")
    for n in (25, 35, 42):
        worker.handler.setFormatter(PLAIN, n)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        worker.log.log(level, "at %s", logging.getLevelName(level))
    worker.log.info("std::vector<int> has no room")
    worker.log.info("ERROR::no error at all")
    worker.log.info("fe80::1 and a.b.c:: more")
    worker.log.warning("tøpic::héllo wörld")
    worker.log.log(25, "done")
    worker.log.log(35, "cake")
    worker.log.log(42, "the answer")
    worker.log.error("several\n  lines\n\n")
    dots = publisher("a.b.INFOrm.c", at["dots"]).subscribed()
    dots.log.error("dotted")
    empty = publisher("", at["empty"]).subscribed()
    empty.log.info("no root")
    empty.log.info("sub.sub::no root, a subtopic")
    # What is no log record at all.
    empty.socket.send(b"one frame")
    empty.socket.send_multipart([b"", b""])
    empty.socket.send_multipart([b"handlers", b"a module of logging"])
    empty.socket.send_multipart([b"x.INFO", b"one", b"two", b"three"])
    empty.socket.send_multipart([b"\xff\xfe.INFO.\x00", b"\x80 bytes \xff"])
    empty.socket.send_multipart([b"." * 5000 + b"INFO", b"dots"])
    empty.log.critical("the last one")
    records = got(server, 23)
    found = [(line, labels.get("logger"), labels.get("severity"), labels.get("topic"), labels.get("detected_level"))
             for line, labels in records]
    assert found[:13] == [
        ("at DEBUG", "worker", "DEBUG", None, "debug"),
        ("at INFO", "worker", "INFO", None, "info"),
        ("at WARNING", "worker", "WARNING", None, "warn"),
        ("at ERROR", "worker", "ERROR", None, "error"),
        ("at CRITICAL", "worker", "CRITICAL", None, "critical"),
        ("vector<int> has no room", "worker", "INFO", "std", "info"),
        ("no error at all", "worker", "INFO", "ERROR", "info"),
        ("1 and a.b.c:: more", "worker", "INFO", "fe80", "info"),
        ("héllo wörld", "worker", "WARNING", "tøpic", "warn"),
        ("done", "worker", "SUCCESS", None, "info"),
        ("cake", "worker", "PARTY", None, "unknown"),
        ("the answer", "worker", "Level 42", None, "error"),
        ("several\n  lines", "worker", "ERROR", None, "error")], found[:13]
    assert found[13:16] == [
        ("dotted", "a.b.INFOrm.c", "ERROR", None, "error"),
        ("no root", None, "INFO", None, "info"),
        ("no root, a subtopic", None, "INFO", "sub.sub", "info")], found[13:16]
    assert [f[0] for f in found[16:20]] == ["one frame", "", "a module of logging", "one\ntwo\nthree"]
    assert found[-1][0] == "the last one"
    label = records[0][1]
    assert label["app"] == "worker" and label["input"] == "zeromq" and label["host"], label
    assert label["peer"] == at["worker"][6:]
    assert records[14][1]["app"] == "empty"
    assert server.metric("sawlog_zeromq_publishers", publisher="worker") == 1


def test_default_formats(nodes, publisher):
    """PUBHandler's own formatters, and a traceback."""
    at = address()
    server = nodes.server(config=config_of(f"connect: {{app: '{at}'}}"))
    p = publisher("app", at, formatter=None).subscribed()
    p.log.info("plain")
    try:
        1 / 0
    except ZeroDivisionError:
        p.log.exception("oops")
    lines = [line for line, _ in got(server, 2)]
    assert lines[0] == "plain"
    assert lines[1].startswith("ERROR test_zeromq.py:") and "Traceback (most recent call last)" in lines[1]
    assert lines[1].endswith("ZeroDivisionError: division by zero")


NUMBERED = """
import logging, sys, zmq
from zmq.log.handlers import PUBHandler
address, root, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
socket = zmq.Context().socket(zmq.XPUB)
socket.sndhwm, socket.linger = 1_000_000, 20_000
socket.bind(address)
handler = PUBHandler(socket, root_topic=root)
handler.setFormatter(logging.Formatter("%(message)s\\n"))
log = logging.Logger(root, 1)
log.addHandler(handler)
assert socket.poll(30_000) and socket.recv() == b"\\1"
for i in range(n):
    log.info("#%d of a publisher with some text to carry", i + 1)
print("sent", flush=True)
sys.stdin.read()
"""


def spawn(at, root, n):
    return subprocess.Popen([sys.executable, "-c", NUMBERED, at, root, str(n)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


def test_ten_publishers(nodes):
    """Ten processes at full speed while the server is told to reload: all is there, each in its order."""
    n = 3000
    at = {f"p{i}": address() for i in range(10)}
    connect = ", ".join(f"{name}: ['{a}']" for name, a in at.items())
    server = nodes.server(config=config_of(f"connect: {{{connect}}}, sequence: '^#(\\d+) '"))
    children = [spawn(a, name, n) for name, a in at.items()]
    try:
        for c in children:
            server.child.send_signal(signal.SIGHUP)
            assert c.stdout.readline() == "sent\n"
        wait_for("all", lambda: server.metric("sawlog_committed_records_total", input="zeromq") >= 10 * n, 60)
    finally:
        for c in children:
            c.communicate("")
    for name in at:
        numbers = [int(line.split()[0][1:]) for line in server.lines(f'{{app="{name}"}}')]
        assert numbers == list(range(1, n + 1)), name
    assert server.metric("sawlog_dropped_records_total", input="zeromq") == 0


def test_reload_under_load(nodes, publisher):
    """W-A2: reloads with other settings while messages come lose none and take none twice."""
    at, other = address(), address()

    def config(more, app, hwm, heartbeat):
        return config_of(f"connect: {{load: '{at}'{more}}}, app: {app}, sequence: '^#(\\d+)$', hwm: {hwm}, "
                         f"heartbeat: {heartbeat}s")

    server = nodes.server(config=config("", "first", 100000, 30))
    p = publisher("load", at).subscribed()
    sent, end = [0], threading.Event()

    def send():
        while not end.is_set():
            sent[0] += 1
            p.log.info("#%d", sent[0])
            if sent[0] % 20 == 0:
                time.sleep(0.001)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    for i in range(12):
        before = sent[0]
        more = f", other: '{other}'" if i % 3 == 0 else ""
        server.config.write_text(config(more, f"app{i}", 100000 + i, 10 + i))
        assert server.call("POST", "/-/reload", b"").status == 200
        wait_for("messages after the reload", lambda: sent[0] > before + 200)
    end.set()
    sender.join()
    wait_for("all", lambda: server.metric("sawlog_committed_records_total", input="zeromq") >= sent[0])
    entries = server.entries('{input="zeromq"}')
    numbers = sorted(int(line[1:]) for _, line, _ in entries)
    assert numbers == list(range(1, sent[0] + 1))
    assert len({labels["app"] for _, _, labels in entries}) > 3
    assert server.metric("sawlog_dropped_records_total", input="zeromq") == 0
    # An address that nobody names any more is left alone.
    server.config.write_text(config_of(f"connect: {{other: '{other}'}}"))
    assert server.call("POST", "/-/reload", b"").status == 200
    assert p.socket.poll(20_000) and p.socket.recv() == b"\x00"
    wait_for("the gauge", lambda: server.metric("sawlog_zeromq_publishers", publisher="load") == 0)


def test_come_and_go(nodes, publisher):
    """Short-lived publishers at one address, one that is there before the server, and a server that is started again."""
    at = address()
    server = nodes.server(start=False, config=config_of(f"connect: {{w: '{at}'}}"))
    p = publisher("w", at)
    server.start()
    p.subscribed().log.info("was there before")
    got(server, 1)
    for i in range(3):
        p.close()
        p = publisher("w", at).subscribed()
        p.log.info("worker %d", i)
        got(server, i + 2)
    wait_for("one publisher", lambda: server.metric("sawlog_zeromq_publishers", publisher="w") == 1)
    assert server.stop() == 0
    assert p.socket.poll(20_000) and p.socket.recv() == b"\x00"
    server.start()
    p.subscribed().log.info("after the restart")
    wait_for("it", lambda: server.lines('{app="w"}')[-1:] == ["after the restart"])
    assert server.lines('{app="w"}') == [
        "was there before", "worker 0", "worker 1", "worker 2", "after the restart"]


def test_end_takes_what_came(nodes, publisher):
    """SIGTERM under load: each publisher's messages are there without a hole, up to the last one taken."""
    at = address()
    server = nodes.server(config=config_of(f"connect: {{w: '{at}'}}, hwm: 100000"))
    p = publisher("w", at).subscribed()
    for i in range(20_000):
        p.log.info("#%d", i)
    assert server.stop() == 0
    server.start()
    numbers = [int(line[1:]) for line in server.lines('{app="w"}')]
    assert numbers == list(range(len(numbers)))


def test_numbers_tell(nodes, publisher):
    """W-A3: what a publisher dropped, or sent while nobody listened, is counted and told in its stream."""
    at = address()
    server = nodes.server(config=config_of(f"connect: {{w: '{at}'}}, sequence: '\"seq\": (\\d+)'"))
    p = publisher("w", at).subscribed()
    for i in (1, 2, 7, 8, 1, 2):
        p.log.info('{"seq": %d, "text": "x"}', i)
    records = got(server, 7)
    assert "4 messages of" in records[2][0] and "between the numbers 2 and 7" in records[2][0], records
    assert records[2][1]["app"] == "w"
    assert server.metric("sawlog_dropped_records_total", input="zeromq", reason="publisher_gap") == 4
    # Sent while the server was not there.
    server.stop()
    assert p.socket.poll(20_000) and p.socket.recv() == b"\x00"
    p.log.info('{"seq": 3}')
    server.start()
    p.subscribed().log.info('{"seq": 4}')
    wait_for("both", lambda: len(server.lines('{app="w"}')) == 9)
    assert "1 messages of" in server.lines('{app="w"}')[-2]


def test_bound(nodes, publisher):
    """W-A4, W-A5, W-A6: any number of publishers connect to one port; who they are is recorded."""
    at = address()
    server = nodes.server(config=config_of(f"bind: ['{at}']"))
    before = time.time_ns()
    several = [publisher(f"host{i}.worker", at, bind=False).subscribed() for i in range(5)]
    for i, p in enumerate(several):
        p.log.info("from %d", i)
    records = got(server, 5)
    assert sorted(line for line, _ in records) == [f"from {i}" for i in range(5)]
    assert {labels["logger"] for _, labels in records} == {f"host{i}.worker" for i in range(5)}
    assert all(labels["peer"] == "127.0.0.1" and labels["host"] for _, labels in records)
    assert all(before <= ns <= time.time_ns() for ns, _, _ in server.entries('{input="zeromq"}'))
    assert server.metric("sawlog_zeromq_publishers", publisher=at) == 5
    several[0].close()
    wait_for("one less", lambda: server.metric("sawlog_zeromq_publishers", publisher=at) == 4)


def test_strangers(nodes, publisher):
    """Bytes that are no ZeroMQ at a bound port, and a web server where a publisher should be: others are not touched."""
    at, web = address(), socket.create_server(("127.0.0.1", 0))
    web_port = web.getsockname()[1]

    def refuse():
        while True:
            try:
                s, _ = web.accept()
            except OSError:
                return
            s.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            s.close()

    threading.Thread(target=refuse, daemon=True).start()
    server = nodes.server(config=config_of(f"bind: ['{at}'], connect: {{web: {web_port}}}, host: 127.0.0.1"))
    p = publisher("good", at, bind=False).subscribed()
    p.log.info("before")
    port = int(at.rsplit(":", 1)[1])
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
    ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"
    for hello in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1000, bytes(1000), greeting[:20], greeting + b"\x04\xff" + bytes(300),
                  greeting + b"\x06" + b"\xff" * 8, greeting + ready + b"\x02" + b"\x7f" * 8,
                  greeting + ready + b"\x02" + (1 << 40).to_bytes(8, "big") + b"x",
                  greeting + ready + b"\x01\x05hel"):
        s = socket.create_connection(("127.0.0.1", port))
        with contextlib.suppress(OSError):  # it may be refused before all of it is there
            s.sendall(hello)
            s.shutdown(socket.SHUT_WR)
        s.close()
    # A message whose second half never comes is none.
    wait_for("one publisher", lambda: server.metric("sawlog_zeromq_publishers", publisher=at) == 1)
    p.log.info("after")
    assert [line for line, _ in got(server, 2)] == ["before", "after"]
    wait_for("the warning", lambda: f"tcp://127.0.0.1:{web_port}: no handshake" in server.err)
    web.close()


def test_clash(nodes):
    """An address that is bound takes part in the search for ports used twice."""
    port = sawlog.free_port()
    server = nodes.server(start=False, config=(
        f"inputs:\n  - syslog: {{listen: ['tcp://127.0.0.1:{port}']}}\n"
        f"  - zeromq: {{bind: ['tcp://*:{port}'], allow: ['127.0.0.0/8']}}\n"))
    result = sawlog.run("check", server.config)
    assert result.returncode != 0
    assert b"is already taken by inputs.syslog.listen on line 2" in result.stdout + result.stderr
    result = sawlog.run("check", "--effective", "-", stdin=b"inputs: [{zeromq: {connect: {a: 1, b: [2, 'h:3']}}}]")
    assert b"connect: {a: [1], b: [2, h:3]}" in result.stdout.replace(b'"', b""), result


def test_full_outlet(nodes, publisher):
    """Reading stops while the server has no memory, and goes on: a burst of 40 MB at memory: 32MiB."""
    at = address()
    server = nodes.server(config="memory: 32MiB\n" + config_of(f"connect: {{w: '{at}'}}"))
    p = publisher("w", at).subscribed()
    line = "x" * 2000
    for i in range(20_000):
        p.log.info("%d %s", i, line)
    wait_for("all", lambda: server.metric("sawlog_committed_records_total", input="zeromq") >= 20_000, 60)
    assert server.metric("sawlog_committed_records_total", input="zeromq") == 20_000
    found = server.query('{app="w"}', limit=1000)["data"]["result"]
    assert [int(line.split()[0]) for s in found for _, line, *_ in s["values"]] == list(range(1000))


@pytest.mark.skipif(not zmq.has("curve"), reason="libzmq without CURVE")
def test_curve(nodes, publisher, tmp_path):
    """W-A7: encrypted both ways; who has no key that is known is not heard, and that is told."""
    import zmq.auth
    _, ours = zmq.auth.create_certificates(str(tmp_path), "sawlog")
    os.chmod(ours, 0o600)
    our_public, _ = zmq.auth.load_certificate(ours)
    worker_public, worker_secret = zmq.curve_keypair()
    known_public, known_secret = zmq.curve_keypair()
    a, b = address(), address()
    server = nodes.server(config=config_of(
        f"connect: {{w: '{a}'}}, bind: ['{b}'], curve: {{server_key: '{worker_public.decode()}', "
        f"secret_key_file: '{ours}', client_keys: ['{known_public.decode()}']}}"))
    p = publisher("w", a, curve_server=True, curve_secretkey=worker_secret, curve_publickey=worker_public)
    p.subscribed().log.info("connected to")
    known = publisher("known", b, bind=False, curve_serverkey=our_public, curve_publickey=known_public,
                      curve_secretkey=known_secret)
    known.subscribed().log.info("bound")
    got(server, 2)
    stranger_public, stranger_secret = zmq.curve_keypair()
    publisher("stranger", b, bind=False, curve_serverkey=our_public, curve_publickey=stranger_public,
              curve_secretkey=stranger_secret).log.info("nobody hears this")
    publisher("plain", b, bind=False).log.info("nor this")
    wait_for("the warning", lambda: "no handshake with a publisher" in server.err)
    assert sorted(line for line, _ in got(server, 2)) == ["bound", "connected to"]


def test_example(nodes):
    """examples/zeromq.yaml with its publishers, one that binds and one that connects."""
    bound, ours = sawlog.free_port(), sawlog.free_port()
    examples = sawlog.ROOT / "examples"
    server = nodes.server(config=(examples / "zeromq.yaml").read_text().replace("5556", str(bound))
                          .replace("5550", str(ours)).replace("[5557, 'tcp://localhost:5558']", str(sawlog.free_port())))
    script = nodes.folder / "publisher.py"
    script.write_text((examples / "zeromq_publisher.py").read_text().replace("5550", str(ours)))
    for args in (("worker", str(bound)), ("another",)):
        subprocess.run([sys.executable, script, *args], check=True, timeout=60)
    got(server, 12)
    assert server.lines('{app="worker"}') == server.lines('{app="another", site="here"}') == [
        *(f"vector with {i + 1} items (number {i + 1})" for i in range(5)), "the disk is nearly full (number 6)"]
    assert server.lines('{app="another"} | severity="ERROR"') == ["the disk is nearly full (number 6)"]
