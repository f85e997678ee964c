# SPDX-License-Identifier: Apache-2.0
"""The amqp input against brokers that do not keep to the protocol, and publishers that mean no good."""
import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
import sawlog
from rabbit import pika
from sawlog import wait_for
from test_amqp import config, consuming, count, empty, lines_within, send, send_many, start

pytestmark = pytest.mark.skipif(pika is None, reason="python3-pika is not installed")
if pika:
    from pika import spec

# What the input asks for, in its order; the answers of a broker.
STAGES = {} if pika is None else {
    "protocol": lambda: spec.Connection.Start(0, 9, {"product": "fake"}, "PLAIN", "en_US"),
    "Connection.StartOk": lambda: spec.Connection.Tune(1, 131072, 60),
    "Connection.Open": spec.Connection.OpenOk,
    "Channel.Open": spec.Channel.OpenOk,
    "Exchange.Declare": spec.Exchange.DeclareOk,
    "Queue.Declare": lambda: spec.Queue.DeclareOk("q", 0, 0),
    "Queue.Bind": spec.Queue.BindOk,
    "Basic.Qos": spec.Basic.QosOk,
    "Basic.Consume": lambda: spec.Basic.ConsumeOk("tag"),
}


def method(m, channel=1):
    return pika.frame.Method(channel, m).marshal()


def deliver(tag=1, consumer="tag", channel=1):
    return method(spec.Basic.Deliver(consumer, tag, False, "logs_exchange", "ServiceA.Info"), channel)


def header(size, **properties):
    return pika.frame.Header(1, size, spec.BasicProperties(**properties)).marshal()


def body(text, channel=1):
    return pika.frame.Body(channel, text).marshal()


def message(text, tag=1, **how):
    return deliver(tag, **how) + header(len(text)) + (body(text) if text else b"")


def header_of_class(number):
    """All flags, and nothing behind them."""
    return struct.pack(">BHIHHQH", 2, 1, 14, number, 0, 3, 0xFFFE) + b"\xce"


class FakeBroker:
    """fails(send, stage): what the first connection gets in place of the answer; b"" is silence.  The next one is
    served as by a broker, and gets one message."""

    def __init__(self, text, fails=None, more=b""):
        self.text, self.fails, self.more = text, fails, more
        self.connections, self.acked = 0, threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"amqp://guest:guest@127.0.0.1:{self.listener.getsockname()[1]}/"
        self.stuck = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock, self.connections == 1 and self.fails),
                                 daemon=True).start()

    def _serve(self, sock, fails):
        with sock, contextlib.suppress(OSError, ConnectionError):
            sock.settimeout(60)
            data = b""
            while len(data) < 8:
                data += sawlog.receive(sock)
            assert data[:4] == b"AMQP"
            data = data[8:]
            self._answer(sock, "protocol", fails)
            while True:
                used, frame = pika.frame.decode_frame(data)
                if frame is None:
                    data += sawlog.receive(sock)
                    continue
                data = data[used:]
                if not isinstance(frame, pika.frame.Method):
                    continue
                name = frame.method.NAME
                if name in STAGES:
                    self._answer(sock, name, fails)
                elif name == "Basic.Ack":
                    self.acked.set()
                elif name == "Basic.Cancel":
                    sock.sendall(method(spec.Basic.CancelOk("tag")))
                elif name == "Channel.Close":
                    sock.sendall(method(spec.Channel.CloseOk()))
                elif name == "Connection.Close":
                    sock.sendall(method(spec.Connection.CloseOk(), 0))
                    return

    def _answer(self, sock, stage, fails):
        answer = method(STAGES[stage](), 0 if stage == "protocol" or stage.startswith("Connection") else 1)
        instead = fails(stage, answer) if fails else None
        if instead == b"":
            self.stuck.set()
            # Until the other side has enough.
            with contextlib.suppress(ConnectionError):
                while True:
                    sawlog.receive(sock)
            raise ConnectionError
        if instead is not None:
            sock.sendall(instead)
            self.stuck.set()
            # What the input does with it is its own; nothing more comes from here.
            with contextlib.suppress(ConnectionError):
                while True:
                    sawlog.receive(sock)
            raise ConnectionError
        sock.sendall(answer)
        if stage == "Basic.Consume":
            sock.sendall(message(self.text.encode()) + self.more)


def inputs(brokers, **options):
    """A config with an input for each."""
    return "inputs:\n" + "".join(config(b.url, queue=f"q{i}", **options).split("\n", 1)[1]
                                 for i, b in enumerate(brokers))


@contextlib.contextmanager
def fakes(fails):
    made = [FakeBroker(name, fail) for name, fail in fails.items()]
    try:
        yield made
    finally:
        for broker in made:
            broker.close()


def at(stage, what):
    """Answer at this stage with what(answer)."""
    return lambda now, answer: what(answer) if now == stage else None


BROKEN = {
    "garbage": lambda answer: b"\x16\x03\x01 this is no frame of AMQP at all, whoever reads it" * 3,
    "a partial frame": lambda answer: answer[:-3],
    "a frame of 2 GiB": lambda answer: answer[:3] + b"\x7f\xff\xff\xff" + answer[7:],
    "no end of the frame": lambda answer: answer[:-1] + b"\0",
    "a method that nobody knows": lambda answer: answer[:7] + b"\xff\xff\xff\xff" + answer[11:],
    "fields that are cut": lambda answer: struct.pack(">BHI", 1, int.from_bytes(answer[1:3], "big"), 5)
    + answer[7:12] + b"\xce",
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_answers(nodes, what):
    """At each stage of connecting: the next connection takes the message."""
    with fakes({f"line of {stage}": at(stage, BROKEN[what]) for stage in STAGES}) as brokers:
        server = nodes.server(config=inputs(brokers, heartbeat="1s"))
        wait_for("all lines", lambda: count(server) >= len(STAGES), 60)
        assert sorted(server.lines('{input="amqp"}')) == sorted(b.text for b in brokers)
        for broker in brokers:
            assert broker.acked.wait(20)
        assert server.stop() == 0, server.err[-3000:]


@pytest.mark.parametrize("end", ["stop", "reload"])
def test_silent_at_each_stage(nodes, end):
    """A stop and a reload while brokers say nothing take some seconds."""
    with fakes({f"line of {stage}": at(stage, lambda answer: b"") for stage in STAGES}) as brokers:
        server = nodes.server(config=inputs(brokers))
        for broker in brokers:
            assert broker.stuck.wait(30)
        begin = time.monotonic()
        if end == "reload":
            server.config.write_text(inputs(brokers, labels={"reloaded": "yes"}))
            server.child.send_signal(signal.SIGHUP)
            wait_for("all lines", lambda: count(server, '{reloaded="yes"}') >= len(STAGES), 60)
        else:
            assert server.stop() == 0
        assert time.monotonic() - begin < 30


HOSTILE = {} if pika is None else {
    "a body without a header": deliver() + body(b"abc"),
    "a header without a message": header(3) + body(b"abc"),
    "a message within another": deliver() + header(8 << 20) + body(b"x" * 1000) + deliver(2),
    "a body that is too long": deliver() + header(3) + body(b"abcd"),
    "properties of another class": deliver() + header_of_class(10),
    "properties that are cut": deliver() + header_of_class(60),
    "a channel that nobody opened": message(b"abc", channel=7),
    "a frame of 2 GiB": b"\3\0\1\x7f\xff\xff\xff" + b"x" * 100,
    "random bytes": bytes((i * 7919 >> 3) & 255 for i in range(5000)),
    "a method of another time": method(spec.Queue.DeclareOk("q", 0, 0)) + b"\0" * 20,
    "the connection's end": method(spec.Connection.Close(541, "INTERNAL_ERROR", 0, 0), 0),
    "the channel's end": method(spec.Channel.Close(406, "PRECONDITION_FAILED - \x1b[31m red", 0, 0)),
    "the subscription's end": method(spec.Basic.Cancel("tag")),
}


def test_hostile_deliveries(nodes):
    """After the subscription: the connection ends, the next one takes the message, and no memory stays charged."""
    with fakes({f"line after {name}": at("Basic.Consume", lambda answer, bad=bad: answer + bad)
                for name, bad in HOSTILE.items()}) as brokers:
        server = nodes.server(config=inputs(brokers, heartbeat="1s"))
        wait_for("all lines", lambda: {b.text for b in brokers} <= set(server.lines('{input="amqp"}')), 60)
        for broker in brokers:
            assert broker.acked.wait(20)
        assert "\x1b" not in server.err
        assert server.stop() == 0, server.err[-3000:]


def test_deliveries_of_unknown_consumers(nodes):
    """What comes is stored, whoever the broker says that it is for."""
    broker = FakeBroker("line", more=message(b"of nobody", 7, consumer="another") + message(b"", 8))
    with contextlib.closing(broker):
        server = nodes.server(config=inputs([broker]))
        lines_within(server, 3)
        assert sorted(server.lines('{input="amqp"}')) == ["", "line", "of nobody"]
        assert broker.acked.wait(20)
        assert server.stop() == 0
        assert broker.connections == 1


def test_many_reconnects(nodes, rabbit):
    """No descriptor, thread or memory stays behind."""
    server = start(nodes, rabbit)
    fds = sawlog.Path(f"/proc/{server.child.pid}/fd")
    n = len(list(fds.iterdir()))
    for i in range(10):
        # One is closed before it has subscribed now and then.
        wait_for("it consumes", lambda: rabbit.consumers("logQueue"), 30)
        rabbit.close_connections()
        wait_for("it is gone", lambda: server.err.count("takes the messages of queue") >= i + 2, 30)
    send_many(rabbit, 10, ids=True)
    lines_within(server, 10)
    assert len(list(fds.iterdir())) <= n + 5


# -- publishers


def test_hostile_headers(nodes, rabbit):
    server = start(nodes, rabbit)
    channel = rabbit.channel()
    nested = {"deep": 1}
    for _ in range(60):
        nested = {"t": nested, "l": [nested if _ < 3 else 1]}
    send(channel, "nested", headers={"t": nested, "after": "kept"})
    send(channel, "many", headers={f"h{i:04}": i for i in range(1000)})
    send(channel, "large", headers={"big": "v" * 120000, "after": "kept"})
    send(channel, "labels", headers={"app": "evil", "input": "evil", "__name__": "evil", "tenant": "evil", "": "no",
                                     "a b\n{}\"=": "odd", "n" * 128: "long"}, app_id="shop")
    send(channel, "long id", message_id="i" * 255, app_id="a" * 255, correlation_id="c" * 255, type="t" * 255)
    send(channel, "bytes", headers={"raw": b"\xff\xfe\0"}, message_id="\0\x1b[31m")
    send(channel, "", "k" * 255)
    lines_within(server, 7)
    found = {line: labels for _, line, labels in server.entries('{input="amqp"}')}
    assert found["nested"]["header_after"] == "kept" and "header_t" not in found["nested"]
    assert sum(name.startswith("header_") for name in found["many"]) == 32
    assert len(found["large"]["header_big"]) == 4096 and found["large"]["header_after"] == "kept"
    labels = found["labels"]
    assert labels["app"] == "shop" and labels["input"] == "amqp" and labels["header_app"] == "evil"
    assert labels["header_input"] == "evil" and labels["header___name__"] == "evil"
    assert labels["header_a_b_____"] == "odd" and labels["header_" + "n" * 128] == "long"
    assert found["long id"]["message_id"] == "i" * 255 and found["long id"]["app"] == "a" * 255
    assert found[""]["routing_key"] == "k" * 255
    # A forged count of deliveries is no more than a reason to try it less often.
    wait_for("all is acknowledged", lambda: empty(rabbit))


def test_forged_delivery_count(nodes, rabbit):
    server = start(nodes, rabbit, format="json", queue_type="classic")
    channel = rabbit.channel()
    for value in ((1 << 63) - 1, -(1 << 63), 5):
        send(channel, f"no JSON {value}", headers={"x-delivery-count": value})
    send(channel, '{"message": "good"}', headers={"x-delivery-count": (1 << 63) - 1})
    lines_within(server, 4)
    assert count(server, '{quarantine="true"}') == 3
    wait_for("all is acknowledged", lambda: empty(rabbit))


def test_huge_bodies_and_little_memory(nodes, rabbit):
    server = nodes.server(config="memory: 32MiB\n" + config(rabbit.url, prefetch=65535))
    consuming(server)
    channel = rabbit.channel()
    channel.confirm_delivery()
    for size in (15 << 20, (16 << 20) - 1, 16 << 20, (16 << 20) + 1, 20 << 20):
        send(channel, b"z" * size, "huge.Info")
    # Called JSON: it is read in full, or put aside, where memory does not suffice.
    send(channel, b'{"message": "' + b"m" * (4 << 20) + b'"}', "json.Info", content_type="application/json")
    send(channel, "after", "after")
    # A query may find no memory beside them.
    wait_for("all", lambda: server.metric("sawlog_committed_records_total") >= 7, 90)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    assert server.metric("sawlog_amqp_quarantined_total") == 2
    assert server.metric("sawlog_amqp_messages_total") == 7


def test_one_at_a_time_and_all_at_once(nodes, rabbit):
    """prefetch of 1 and of 65535, two inputs on one queue in one server: each message once."""
    text = config(rabbit.url, prefetch=1) + config(rabbit.url, prefetch=65535).split("\n", 1)[1]
    server = consuming(nodes.server(config=text), 2)
    n = 300
    send_many(rabbit, n, ids=True)
    lines_within(server, n, '{app="ServiceA"}')
    wait_for("all is acknowledged", lambda: empty(rabbit))
    assert count(server) == n
    # Windows of their own, which a kill does not mix up.
    server.kill()
    server.start()
    send_many(rabbit, n, first=n, ids=True)
    lines_within(server, 2 * n, '{app="ServiceA"}')
    assert count(server) == 2 * n


def test_full_queue(nodes, rabbit):
    """A queue that drops its head when it is full: what it kept is taken."""
    server = start(nodes, rabbit, arguments={"x-max-length": 100})
    server.stop()
    send_many(rabbit, 300, ids=True)
    assert rabbit.depth("logQueue") == 100
    server.start()
    lines_within(server, 100)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    assert count(server) == 100


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_disk(nodes, rabbit):
    """What has no room stays with the broker; a stop does not wait for it; each message once when there is room."""
    disk = nodes.folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "none", disk]).returncode:
        pytest.skip("mount is not permitted here")
    server = sawlog.Server(disk / "s", config="memory: 64MiB\n" + config(rabbit.url))
    try:
        server.start()
        consuming(server)
        send_many(rabbit, 10, ids=True)
        lines_within(server, 10)
        ballast = disk / "ballast"
        with ballast.open("wb") as f:
            free = os.statvfs(disk)
            f.write(b"\0" * max(0, free.f_bavail * free.f_frsize - (5 << 20)))
        wait_for("it is full", lambda: server.push({"app": "d"}, ["x" * 1000]).status == 503)
        send_many(rabbit, 100, first=10, ids=True)
        assert server.get("/ready").status == 503
        begin = time.monotonic()
        server.child.send_signal(signal.SIGTERM)
        server.child.wait(60)
        assert time.monotonic() - begin < 40
        wait_for("they are with the broker", lambda: rabbit.depth("logQueue") == 100)
        server.start(wait=False)
        wait_for("it consumes", lambda: rabbit.consumers("logQueue"), 30)
        ballast.unlink()
        lines_within(server, 110, '{app="ServiceA"}')
        wait_for("all is acknowledged", lambda: empty(rabbit))
        assert count(server, '{app="ServiceA"}') == 110
        server.stop()
    finally:
        server.close()
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("more", ["", "durability: os\n"])
def test_less_durable(nodes, rabbit, more):
    """What a stop finds under way is stored."""
    server = nodes.server(config=more + config(rabbit.url, ack="auto" if not more else "manual"))
    consuming(server)
    send_many(rabbit, 200, ids=True)
    assert server.stop() == 0
    left = rabbit.depth("logQueue")
    server.start()
    lines_within(server, 200)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    assert count(server) == 200 and left <= 200


def test_forwarded(nodes, rabbit):
    """sawlog forward --input amqp=URL: a message is acknowledged when the server has it."""
    server = nodes.server()
    forwarder = nodes.forwarder(server, args=["--input", f"amqp={rabbit.url}"])
    consuming(forwarder)
    send_many(rabbit, 100, ids=True)
    lines_within(server, 100)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    server.kill()
    send_many(rabbit, 100, first=100, ids=True)
    server.start()
    lines_within(server, 200, seconds=90)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    assert forwarder.stop() == 0
    assert count(server) == 200
