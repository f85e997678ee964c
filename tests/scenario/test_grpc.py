# SPDX-License-Identifier: Apache-2.0
"""gRPC by a real client (grpcio): Loggregator's Ingress and OpenTelemetry's LogsService; TLS, tokens, limits,
restarts, clients that misbehave."""
import itertools
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

grpc = pytest.importorskip("grpc")

import sawlog  # noqa: E402
from loggregator import V2, v2_batch, v2_log  # noqa: E402
from sawlog import wait_for  # noqa: E402
from test_otlp import PROTOBUF, T, fields, record, request  # noqa: E402
from test_syslog import PEM  # noqa: E402

INGRESS = "/loggregator.v2.Ingress/"
EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
# A channel of its own for each: grpcio shares connections between channels of the same target and options.
_unique = itertools.count()


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pem")
    subprocess.run(["bash", "-c", PEM, "-", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def log(nodes):
    """log("loggregator", "listen: […]", …): a server with one input."""
    def start(kind, settings, more="", **kw):
        server = nodes.server(config=f"inputs:\n  - {kind}: {{{settings}}}\n{more}", **kw)
        wait_for("it listens", lambda: "inputs running" in server.out)
        return server

    return start


class Client:
    """Calls of a channel with bytes for messages."""

    def __init__(self, port, credentials=None, name=None, **options):
        options = {"grpc.use_local_subchannel_pool": 1, "x-unique": next(_unique), **options}
        if name:
            options["grpc.ssl_target_name_override"] = name
        options = list(options.items())
        self.channel = (grpc.secure_channel(f"localhost:{port}", credentials, options) if credentials
                        else grpc.insecure_channel(f"127.0.0.1:{port}", options))

    def unary(self, path, message, **kw):
        return self.channel.unary_unary(path)(message, timeout=sawlog.PATIENCE, **kw)

    def send(self, *envelopes, **kw):
        return self.unary(INGRESS + "Send", v2_batch(envelopes), **kw)

    def stream(self, method, messages, timeout=sawlog.PATIENCE, **kw):
        return self.channel.stream_unary(INGRESS + method)(iter(messages), timeout=timeout, **kw)

    def close(self):
        self.channel.close()


@pytest.fixture
def client():
    made = []

    def connect(*args, **kw):
        made.append(Client(*args, **kw))
        return made[-1]

    yield connect
    for c in made:
        c.close()


def refused(what):
    with pytest.raises(grpc.RpcError) as error:
        what()
    return error.value


def streams(server, logql):
    return server.query(logql)["data"]["result"]


# --- Loggregator -----------------------------------------------------------------------------------------------------


def test_send(log, client):
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    c = client(port)
    assert c.send(v2_log("app-1", "hello", timestamp=T), v2_log("app-1", "oops", err=True, timestamp=T + 1)) == b""
    # The answer came after the commit: there is nothing to wait for.
    assert server.lines('{app="app-1"}') == ["hello", "oops"]
    (labels, entries), = [(s["stream"], s["values"]) for s in streams(server, '{app="app-1"} |= "oops"')]
    assert labels["input"] == "loggregator" and labels["source"] == "APP/PROC/WEB/0"
    assert labels["message_type"] == "ERR" and labels["instance_id"] == "0"
    assert entries[0][0] == str(T + 1)


def test_acknowledged_is_durable(log, client):
    """kill -9 behind an answer: what was acknowledged is there."""
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    c = client(port)
    for i in range(50):
        c.send(v2_log("durable", f"line {i}", timestamp=T + i))
    server.kill(signal.SIGKILL)
    server.start()
    assert server.lines('{app="durable"}') == [f"line {i}" for i in range(50)]


@pytest.mark.parametrize("method", ["Sender", "BatchSender"])
def test_streams(log, client, method):
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    envelopes = [v2_log("streamed", f"line {i}", timestamp=T + i) for i in range(5000)]
    messages = ([e.encode() for e in envelopes] if method == "Sender"
                else [v2_batch(envelopes[i:i + 100]) for i in range(0, 5000, 100)])
    assert client(port).stream(method, messages) == b""
    assert server.lines('{app="streamed"}') == [f"line {i}" for i in range(5000)]


def test_stream_that_stays(log, client):
    """As agents do: one stream for ever.  Lines are there without its end."""
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    go, over = threading.Event(), threading.Event()

    def messages():
        yield v2_batch([v2_log("stays", "first", timestamp=T)])
        go.wait(sawlog.PATIENCE)
        yield v2_batch([v2_log("stays", "second", timestamp=T + 1)])
        over.wait(sawlog.PATIENCE)

    call = client(port).channel.stream_unary(INGRESS + "BatchSender").future(messages())
    wait_for("the first line", lambda: server.lines('{app="stays"}') == ["first"])
    go.set()
    wait_for("the second line", lambda: server.lines('{app="stays"}') == ["first", "second"])
    over.set()
    assert call.result(sawlog.PATIENCE) == b""


def test_kinds(log, client):
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    client(port).send(
        V2("app", "1", "counter", {"name": "requests", "delta": 2, "total": 9}, T),
        V2("app", "1", "gauge", {"cpu": ("percentage", 0.5)}, T + 1),
        V2("app", "1", "timer", {"name": "http", "start": 5, "stop": 9}, T + 2),
        V2("app", "1", "event", {"title": "crash", "body": "out of memory"}, T + 3))
    kinds = {s["stream"]["event"] for s in streams(server, '{app="app", event!=""}')}
    assert kinds == {"counter", "gauge", "timer", "event"}


def test_malformed(log, client):
    """A message that is none costs itself: a stream goes on, one that waits for an answer is told."""
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    c = client(port)
    good = v2_batch([v2_log("app", "good", timestamp=T)])
    assert c.stream("BatchSender", [b"\xff\xff\xff", good]) == b""
    assert server.lines('{app="app"}') == ["good"]
    error = refused(lambda: c.unary(INGRESS + "Send", b"\xff\xff\xff"))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and len(error.details()) > 10
    wait_for("it is counted", lambda: server.metric("sawlog_dropped_records_total", input="loggregator", reason="malformed") == 2)


def test_gzip(log, client):
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    c = client(port)
    lines = ["the same words " * 20 + str(i) for i in range(500)]
    batch = [v2_log("packed", line, timestamp=T + i) for i, line in enumerate(lines)]
    c.send(*batch, compression=grpc.Compression.Gzip)
    assert server.lines('{app="packed"}') == lines
    error = refused(lambda: c.send(*batch, compression=grpc.Compression.Deflate))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED and "gzip" in error.details()


def test_limit(log, client):
    port = sawlog.free_port()
    log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    c = client(port)
    error = refused(lambda: c.send(v2_log("app", "x" * (5 << 20))))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "limit of 4194304" in error.details()
    # A few bytes that become many.
    error = refused(lambda: c.send(v2_log("app", "x" * (20 << 20)), compression=grpc.Compression.Gzip))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert c.send(v2_log("app", "fine")) == b""


def test_other_methods(log, client):
    port = sawlog.free_port()
    log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    error = refused(lambda: client(port).unary("/loggregator.v2.Egress/Receiver", b""))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED and "Egress/Receiver" in error.details()


def test_mutual_tls(log, client, pem):
    """All of Loggregator's gRPC is mutual TLS: who shows no certificate, or another authority's, is not let in."""
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpcs://127.0.0.1:{port}'], tls: {{cert: {pem}/server.pem, "
                 f"key: {pem}/server.key, client_ca: {pem}/ca.pem}}")

    def credentials(leaf):
        root = (pem / "ca.pem").read_bytes()
        if not leaf:
            return grpc.ssl_channel_credentials(root)
        return grpc.ssl_channel_credentials(root, (pem / f"{leaf}.key").read_bytes(),
                                            (pem / f"{leaf}.pem").read_bytes())

    c = client(port, credentials("client"))
    envelopes = [v2_log("secret", f"line {i}", timestamp=T + i) for i in range(3000)]
    assert c.send(*envelopes) == b""
    assert len(server.lines('{app="secret"}')) == 3000
    for leaf in (None, "stranger"):
        error = refused(lambda: client(port, credentials(leaf)).send(v2_log("secret", "not this")))
        assert error.code() == grpc.StatusCode.UNAVAILABLE
    wait_for("it is counted", lambda: server.metric(
        "sawlog_refused_connections_total", input="loggregator", reason="client_certificate") >= 2)
    assert not server.lines('{app="secret"} |= "not this"')


def test_plain_beyond_loopback_is_refused(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("inputs:\n  - loggregator: {listen: ['grpc://0.0.0.0:3458']}\n")
    got = sawlog.run("check", config)
    assert got.returncode != 0 and "grpc://0.0.0.0:3458" in (got.stderr + got.stdout).decode()


# --- OpenTelemetry -----------------------------------------------------------------------------------------------


def test_otlp(log, client):
    """The same as over HTTP: same labels, lines, metadata."""
    port = sawlog.free_port()
    server = log("otlp", f"listen: ['grpc://127.0.0.1:{port}']")
    body = request(record(T, "one", 9, "INFO", user="u1"), record(T + 1, "two", 17, "ERROR"), service="by-grpc")
    assert client(port).unary(EXPORT, body) == b""
    assert server.lines('{service_name="by-grpc"}') == ["one", "two"]
    assert server.call("POST", "/v1/logs", body.replace(b"by-grpc", b"by-http"), PROTOBUF).status == 200
    answers = [[(s["stream"] | {"service_name": ""}, s["values"]) for s in streams(server, f'{{service_name="{n}"}}')]
               for n in ("by-grpc", "by-http")]
    assert answers[0] == answers[1] and answers[0]


def test_otlp_partial_success(log, client):
    port = sawlog.free_port()
    server = log("otlp", f"listen: ['grpc://127.0.0.1:{port}']")
    body = request(record(T, "good"), record((1 << 64) - 1, "beyond time"))
    answer = client(port).unary(EXPORT, body)
    (number, partial), = fields(answer)
    told = dict(fields(partial))
    assert number == 1 and told[1] == 1 and told[2]
    assert server.lines('{service_name="svc"}') == ["good"]
    error = refused(lambda: client(port).unary(EXPORT, b"\xff\xff"))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_otlp_tokens(log, client, tmp_path):
    """A token says who sends, and as which tenant."""
    port, tokens = sawlog.free_port(), tmp_path / "tokens"

    def create(*args):
        got = sawlog.run("token", "create", "--tokens-file", tokens, *args, "test")
        return re.search(rb"slt_\S+", got.stdout).group().decode()

    good, reader = create("--scope", "ingest", "--tenant", "acme"), create("--scope", "read", "--tenant", "acme")
    server = log("otlp", f"listen: ['grpc://127.0.0.1:{port}'], token: true",
                 f"auth: {{tokens_file: {tokens}}}\n")
    c, body = client(port), request(record(T, "mine"))
    for secret, status in ((None, grpc.StatusCode.UNAUTHENTICATED), ("slt_no", grpc.StatusCode.UNAUTHENTICATED),
                           (reader, grpc.StatusCode.PERMISSION_DENIED)):
        metadata = [("authorization", f"Bearer {secret}")] if secret else []
        assert refused(lambda: c.unary(EXPORT, body, metadata=metadata)).code() == status
    assert c.unary(EXPORT, body, metadata=[("authorization", f"Bearer {good}")]) == b""
    got = server.get("/loki/api/v1/query_range", {"query": '{service_name="svc"}', "since": "876000h"},
                     {"Authorization": f"Bearer {reader}"}).json()
    assert [v[1] for s in got["data"]["result"] for v in s["values"]] == ["mine"]


# --- life ------------------------------------------------------------------------------------------------------------


def test_many_clients(log, client):
    """Each call is answered once, whoever else calls."""
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    clients = [client(port) for _ in range(10)]
    calls = [c.channel.unary_unary(INGRESS + "Send").future(v2_batch([v2_log(f"app-{n}", f"{i}", timestamp=T + i)]))
             for i in range(100) for n, c in enumerate(clients)]
    assert [call.result(sawlog.PATIENCE) for call in calls] == [b""] * 1000
    for n in range(10):
        assert len(server.lines(f'{{app="app-{n}"}}')) == 100


def test_restart(log, client):
    """SIGTERM while calls are under way: what was acknowledged is there, what was not is sent again, to the next one."""
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    c = client(port, **{"grpc.initial_reconnect_backoff_ms": 100, "grpc.min_reconnect_backoff_ms": 100,
                        "grpc.max_reconnect_backoff_ms": 200})
    acknowledged, stop, codes = [], threading.Event(), set()

    def send():
        for i in itertools.count():
            if stop.is_set():
                return
            while not stop.is_set():
                try:
                    c.send(v2_log("restarted", str(i), timestamp=T + i))
                    acknowledged.append(str(i))
                    break
                except grpc.RpcError as e:
                    codes.add(e.code())
                    time.sleep(0.05)

    sender = threading.Thread(target=send)
    sender.start()
    wait_for("some are sent", lambda: len(acknowledged) > 50)
    assert server.stop() == 0
    server.start()
    n = len(acknowledged)
    wait_for("more are sent", lambda: len(acknowledged) > n + 50)
    stop.set()
    sender.join(sawlog.PATIENCE)
    lines = server.lines('{app="restarted"}')
    assert set(acknowledged) <= set(lines)
    assert codes <= {grpc.StatusCode.UNAVAILABLE}


def test_goaway(log, client):
    """A stream that stays open holds up no stop: what had come is taken, its client is told to connect again."""
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    over = threading.Event()

    def messages():
        yield v2_batch([v2_log("stays", "taken", timestamp=T)])
        over.wait(sawlog.PATIENCE)

    call = client(port).channel.stream_unary(INGRESS + "BatchSender").future(messages())
    wait_for("it is there", lambda: server.lines('{app="stays"}') == ["taken"])
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 8
    error = call.exception(sawlog.PATIENCE)
    assert error.code() == grpc.StatusCode.UNAVAILABLE and "stopping" in error.details()
    over.set()


def test_reload(log, client):
    """With other settings the input begins anew, and clients connect again by themselves."""
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    c = client(port, **{"grpc.initial_reconnect_backoff_ms": 100, "grpc.min_reconnect_backoff_ms": 100})
    c.send(v2_log("app", "before", timestamp=T))
    server.config.write_text(
        f"inputs:\n  - loggregator: {{listen: ['grpc://127.0.0.1:{port}'], labels: {{zone: z1}}}}\n")
    assert server.call("POST", "/-/reload").status == 200
    c.send(v2_log("app", "after", timestamp=T + 1), wait_for_ready=True)
    assert server.lines('{app="app", zone="z1"}') == ["after"]


def test_full_disk_waits(log, client):
    """Back-pressure: a sender of more than memory holds is slowed, and all of it arrives."""
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']", "memory: 64MiB\n")
    line = os.urandom(400).hex()
    batch = [v2_log("much", line, timestamp=T + i) for i in range(500)]
    n = 80 if sawlog.SANITIZED else 200
    # As much work as all other tests here: on a busy machine it takes its time.
    assert client(port).stream("BatchSender", itertools.repeat(v2_batch(batch), n), 120) == b""
    answer = server.get("/loki/api/v1/query", {"query": 'sum(count_over_time({app="much"}[876000h]))'}).json()
    assert answer["data"]["result"][0]["value"][1] == str(n * len(batch))
    if not sawlog.SANITIZED:
        assert server.rss_anon() < 120 << 20


# --- hostile clients -------------------------------------------------------------------------------------------------


def raw(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=sawlog.PATIENCE) as s:
        s.settimeout(3)
        got = b""
        try:
            s.sendall(data)
            # A server that has no reason to close waits for more.
            s.shutdown(socket.SHUT_WR)
            while more := s.recv(65536):
                got += more
        except OSError:
            pass
        return got


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x00\xf0\x01\x00\x00\xec" + bytes(200),
    os.urandom(4096),
    PREFACE + SETTINGS + os.urandom(4096),
    PREFACE + SETTINGS + frame(0, 0, 0, b"data of no stream"),
    PREFACE + SETTINGS + frame(1, 4, 1, b"\xff" * 100),
    PREFACE + SETTINGS + frame(8, 0, 0, bytes(4)),
    PREFACE + SETTINGS + frame(6, 0, 0, bytes(8)) * 200_000,
    PREFACE + SETTINGS * 100_000,
    PREFACE + SETTINGS + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"\x40\1x\1y") * 50_000,
], ids=["http", "tls", "noise", "noise-behind", "no-stream", "hpack", "window", "pings", "settings", "continuation"])
def test_hostile(log, client, data):
    port = sawlog.free_port()
    server = log("loggregator", f"listen: ['grpc://127.0.0.1:{port}']")
    for _ in range(5):
        raw(port, data)
    assert client(port).send(v2_log("app", "the others go on")) == b""
    assert server.running
