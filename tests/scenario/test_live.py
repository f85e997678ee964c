# SPDX-License-Identifier: Apache-2.0
"""Live records for Loggregator's clients of all generations, decoded by the wire facts."""
import base64
import concurrent.futures
import json
import random
import re
import ssl
import struct
import threading
import time
import urllib.request

import pytest
import rabbit
import sawlog
from loggregator import COUNTER_EVENT, LOG_MESSAGE, Envelope, LogMessage
from sockets import BINARY, TEXT, Closed, Events, Refused, Socket, shares


def push(server, lines, app="a", source="APP/0", **labels):
    assert server.push({"app": app, "source": source, **labels}, lines).status == 204


def counter(server, name, total, app="a"):
    push(server, [(str(time.time_ns()), f"{name} {total}", {"name": name, "delta": "1", "total": str(total)})],
         app, event="counter", input="loggregator")


def text(payload):
    return LogMessage.decode(payload).message.decode()


def log(payload):
    """The text of a log; None of what is none."""
    e = Envelope.decode(payload)
    return e.message.decode() if e.kind == LOG_MESSAGE else None


# --- 2013 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/tail/", "/tail"])
def test_tail_begins_with_the_newest_lines(server, path):
    push(server, [f"old {i}" for i in range(30)])
    push(server, ["not mine"], app="b")
    tail = Socket(server, path, {"app": "a"}, {"Origin": "http://localhost"})
    assert tail.messages(20, text) == [f"old {i}" for i in range(10, 30)]
    now = time.time_ns()
    push(server, [(now, "new", {"message_type": "ERR", "source_type": "App", "instance_id": "3"})], source="App/3")
    push(server, [(now - 3600 * 10**9, "an hour late")])
    push(server, ["not mine"], app="b")
    counter(server, "requests", 1)
    first, late = tail.messages(2, LogMessage.decode)
    assert (first.message, first.err, first.timestamp, first.app, first.source) == (b"new", True, now, "a", "App/3")
    assert (late.message, late.err) == (b"an hour late", False)
    assert tail.quiet()
    # What clients of 2013 keep it alive with.
    tail.send(TEXT, b"I'm alive!")
    push(server, ["more"])
    assert tail.messages(1, text) == ["more"]
    tail.close()


@pytest.mark.parametrize("path", ["/dump/", "/dump"])
def test_dump_is_the_newest_lines_alone(nodes, path):
    server = nodes.server(config="loggregator: {recent: 50}\n")
    push(server, [f"{i}" for i in range(80)])
    counter(server, "requests", 1)
    found, end = Socket(server, path, {"app": "a"}).end()
    assert [text(m) for m in found] == [f"{i}" for i in range(30, 80)]
    assert end.code == 1000
    # Nobody waits for an application that there is not.
    found, end = Socket(server, path, {"app": "none"}).end()
    assert (found, end.code) == ([], 1000)


def test_without_an_application(server):
    found, end = Socket(server, "/tail/").end()
    message = LogMessage.decode(found[0])
    assert (message.message, message.err, message.source) == (b"Error: Invalid target", True, "LGR")
    assert end.code == 4000
    for path in "/tail/", "/dump/":
        answer = server.get(path)
        assert answer.status == 400 and "Invalid AppId" in answer.text
        assert server.call("HEAD", path + "?app=a").status == 200
    for path in "/apps", "/apps/", "/apps/stream":
        with pytest.raises(Refused) as refused:
            Socket(server, path)
        assert refused.value.status == 404
        assert b"App ID missing. Make request to /apps/APP_ID/stream" in refused.value.body
    assert "Resource Not Found." in server.get("/apps/a/nonsense").text
    for path in "/firehose", "/firehose/":
        answer = server.get(path)
        assert answer.status == 404
        assert "Firehose SUBSCRIPTION_ID missing. Make request to /firehose/SUBSCRIPTION_ID" in answer.text


def test_tail_under_load(server):
    """Tails that open while lines come in see each of them once, in order, from their history on."""
    n, step = 4000, 50

    def send():
        for i in range(0, n, step):
            push(server, [f"{k}" for k in range(i, i + step)])

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    tails = []
    for _ in range(5):
        tails.append(Socket(server, "/tail/", {"app": "a"}))
        time.sleep(0.05)
    for tail in tails:
        last = -1
        while last < n - 1:
            at = int(text(tail.frame()[1]))
            assert last in (-1, at - 1)
            last = at
        tail.close()
    sender.join()


def test_slow_reader_gets_all_of_it(server):
    """W-D10: who reads slowly is neither cut off nor made to lose lines."""
    tail = Socket(server, "/apps/a/stream", buffer=1 << 16)
    for i in range(40):
        push(server, [f"{i * 100 + k} " + "y" * 1000 for k in range(100)])
    time.sleep(1)
    assert [int(log(m).split()[0]) for m in tail.messages(4000)] == list(range(4000))


def test_what_retention_took_is_told(nodes):
    """W-D10: a reader whose backlog became too old is told so, in the stream, and goes on behind it."""
    server = nodes.server(config="memory: 64MiB\nretention: {size: 16MiB}\n")
    tail = Socket(server, "/tail/", {"app": "a"}, buffer=1 << 18)
    loki = server.tail('{app="a"}', limit=0)
    push(server, ["begin"])
    assert tail.messages(1, text) == ["begin"] and loki.entries(1)[0][1] == "begin"
    rng, n, step, got, missed = random.Random(1), 36000, 1000, [], 0
    for i in range(0, n, step):
        lines = ["%d %s" % (k, base64.b64encode(rng.randbytes(700)).decode()) for k in range(i, i + step)]
        sawlog.wait_for("the push", lambda: server.push({"app": "a", "source": "APP/0"}, lines).status == 204)
        # Who takes nothing at all for 45 s is dead.
        got += tail.messages(70, LogMessage.decode)
        if i % 6000 == 5000:
            assert server.call("POST", "/-/flush").status == 200
        missed += loki.frame()["sawlog"].get("gap", 0)
    sawlog.wait_for("retention", lambda: server.metric("sawlog_tail_missed_records_total") > 0)
    push(server, ["end"])
    while got[-1].message != b"end":
        got += tail.messages(1, LogMessage.decode)
    notices = [m for m in got if m.source == "LGR"]
    assert notices and all(m.err and m.app == "a" for m in notices)
    told = sum(int(re.fullmatch(r"Log message output too high\. We've dropped up to (\d+) messages that were not read "
                                r"before they became too old to keep", m.message.decode())[1]) for m in notices)
    lines = [int(m.message.split()[0]) for m in got[:-1] if m.source != "LGR"]
    assert lines == sorted(set(lines)) and lines[-1] == n - 1
    assert 0 < n - len(lines) <= told < n
    # Each notice stands where something is missing.
    gaps = sum(b - a > 1 for a, b in zip(lines, lines[1:]))
    assert 1 <= gaps <= len(notices)
    while True:
        frame = loki.frame()
        missed += frame["sawlog"].get("gap", 0)
        if any(v[1] == "end" for stream in frame["streams"] for v in stream["values"]):
            break
    assert missed > 0


# --- dropsonde ---------------------------------------------------------------------------------------------------


def test_stream_of_an_application(server):
    push(server, ["old"])
    stream = Socket(server, "/apps/a/stream")
    push(server, ["not mine"], app="b")
    push(server, ["line"])
    counter(server, "requests", 7)
    metrics = {"metric_cpu": "1.5", "unit_cpu": "percentage", "metric_rate": "2", "unit_rate": "1/s"}
    push(server, [(time.time_ns(), "gauges", metrics)], event="gauge", input="loggregator")
    opcode, first = stream.frame()
    assert opcode == BINARY
    e = Envelope.decode(first)
    assert (e.kind, e.message, e.event["app_id"], e.event["source_type"], e.event["source_instance"]) == \
        (LOG_MESSAGE, b"line", "a", "APP", "0")
    e, *gauges = stream.messages(3, Envelope.decode)
    assert (e.kind, e.event["name"], e.event["total"]) == (COUNTER_EVENT, "requests", 7)
    # Dropsonde has one metric in an envelope.
    assert {g.event["name"]: g.event["value"] for g in gauges} == {"cpu": 1.5, "rate": 2}
    stream.close()


def test_firehose_is_shared_by_name(server):
    """Each name gets everything once, whoever of its subscribers it goes to."""
    ones = [Socket(server, "/firehose/one") for _ in range(3)]
    two = Socket(server, "/firehose/two")
    logs = Socket(server, "/firehose/three", {"filter-type": "logs"})
    metrics = Socket(server, "/firehose/four", {"filter-type": "metrics"})
    sawlog.wait_for("they are there", lambda: server.metric("sawlog_tail_clients") == 6)
    n = 600
    for i in range(0, n, 60):
        push(server, [f"{k}" for k in range(i, i + 60)], app=f"app{i % 3}")
    counter(server, "requests", 1)
    assert [int(log(m)) for m in logs.messages(n)] == list(range(n))
    got = two.messages(n + 1)
    assert [int(log(m)) for m in got[:n]] == list(range(n))
    assert metrics.messages(1, Envelope.decode)[0].kind == COUNTER_EVENT
    assert logs.quiet() and metrics.quiet()
    # The lines of all of them once, whoever they went to.
    assert sorted(sum(shares(ones, n + 1, log), []), key=str) == sorted([f"{k}" for k in range(n)] + [None], key=str)
    for i in range(0, n, 20):
        push(server, [f"{i}"])
    push(server, [f"x{i}" for i in range(n)])
    got = shares(ones, n + n // 20, log)
    assert sorted(sum(got, [])) == sorted([f"x{i}" for i in range(n)] + [f"{i}" for i in range(0, n, 20)])
    assert all(len(share) > n / 6 for share in got), [len(share) for share in got]
    assert all(one.quiet(0.1) for one in ones)


def test_firehose_waits_for_its_subscribers(server):
    """W-D10: the place of a subscription outlives its last subscriber, so that none is missed meanwhile."""
    one = Socket(server, "/firehose/lasting")
    push(server, ["first"])
    assert one.messages(1, log) == ["first"]
    one.close()
    sawlog.wait_for("it is gone", lambda: server.metric("sawlog_tail_clients") == 0)
    push(server, ["while nobody was there"])
    one = Socket(server, "/firehose/lasting")
    push(server, ["then"])
    assert one.messages(2, log) == ["while nobody was there", "then"]
    # Another selection is another subscription.
    other = Socket(server, "/firehose/lasting", {"filter-type": "logs"})
    assert other.quiet()


# --- the gateway -------------------------------------------------------------------------------------------------


def batch(events):
    """The envelopes of the next event that has some."""
    event, data = events.next()
    assert event is None, event
    return json.loads(data)["batch"]


def test_gateway_streams_envelopes(server):
    push(server, ["old"])
    events = Events(server, "/v2/read", {"log": "", "counter": "", "source_id": ["a", "b.c"]})
    assert (events.status, events.headers["content-type"], events.headers["cache-control"]) == \
        (200, "text/event-stream", "no-cache")
    now = time.time_ns()
    push(server, ["not mine"], app="bxc")
    push(server, [(now, "hello", {"instance_id": "3", "message_type": "ERR"})], app="b.c", source="APP/3")
    push(server, ["gauges"], event="gauge", input="loggregator")
    counter(server, "requests", 7)
    first, = batch(events)
    assert first["timestamp"] == str(now) and first["source_id"] == "b.c" and first["instance_id"] == "3"
    assert first["log"] == {"payload": base64.b64encode(b"hello").decode(), "type": "ERR"}
    assert first["deprecated_tags"] == {}
    second, = batch(events)
    assert second["counter"] == {"name": "requests", "delta": "1", "total": "7"}
    events.close()


def test_gateway_picks_by_name(server):
    params = {"counter.name": ["wanted", "also"], "gauge.name": "cpu,memory", "shard_id": "s"}
    events = Events(server, "/v2/read", params)
    counter(server, "other", 1)
    counter(server, "also", 2)
    for metrics in {"cpu": 1}, {"cpu": 2, "memory": 3}:
        push(server, [(time.time_ns(), "gauges", {f"metric_{k}": str(v) for k, v in metrics.items()})],
             event="gauge", input="loggregator")
    push(server, ["line"])
    counter(server, "wanted", 3)
    found = []
    while len(found) < 3:
        found += batch(events)
    assert [list(e.get("counter", e.get("gauge", {}).get("metrics"))) for e in found] == \
        [["name", "delta", "total"], ["cpu", "memory"], ["name", "delta", "total"]]
    assert [e["counter"]["name"] for e in (found[0], found[2])] == ["also", "wanted"]
    events.close()


def test_gateway_shards(server):
    both = [Events(server, "/v2/read", {"log": "", "shard_id": "x"}) for _ in range(2)]
    alone = Events(server, "/v2/read", {"log": ""})
    sawlog.wait_for("they are there", lambda: server.metric("sawlog_tail_clients") == 3)
    push(server, [f"{i}" for i in range(100)])
    found = shares(both, 100, lambda e: base64.b64decode(e["log"]["payload"]).decode())
    assert sorted(sum(found, []), key=int) == [f"{i}" for i in range(100)] and all(found)
    assert shares([alone], 100, lambda e: base64.b64decode(e["log"]["payload"]).decode())[0] == [f"{i}" for i in range(100)]


@pytest.fixture(scope="module", autouse=True)
def quiet_stream(tmp_path_factory):
    """A stream on which nothing comes, opened before the other tests, so that none waits for its heartbeat."""
    server = sawlog.Server(tmp_path_factory.mktemp("quiet")).start()
    begun = time.time()
    yield server, Events(server, "/v2/read", {"log": ""}), begun
    server.close()


def test_gateway_beats_and_closes(quiet_stream):
    server, events, begun = quiet_stream
    for i in range(1, 1 + max(1, int(time.time() - begun) // 15)):
        event, data = events.next()
        # It tells when it was sent; a busy machine sends it late.
        assert event == "heartbeat" and 15 * i - 2 <= int(data) - begun < 15 * i + 15
    server.child.terminate()
    assert events.next() == ("closing", "closing due to stream timeout")
    with pytest.raises(EOFError):
        events.next()


@pytest.mark.parametrize("method,query,status,error", [
    ("GET", "", 400, "empty_query"),
    ("GET", "?source_id=a", 400, "missing_envelope_type"),
    ("GET", "?counter.name=", 400, "missing_counter_name"),
    ("GET", "?log&gauge.name=", 400, "missing_gauge_name"),
    ("POST", "?log", 405, "method_not_allowed"),
    ("PUT", "?log", 405, "method_not_allowed"),
])
def test_gateway_refuses(server, method, query, status, error):
    answer = server.call(method, "/v2/read" + query, b"" if method != "GET" else None)
    assert (answer.status, answer.json()["error"]) == (status, error) and answer.json()["message"]


def test_gateway_notices_who_goes(server):
    events = [Events(server, "/v2/read", {"log": ""}) for _ in range(5)]
    sawlog.wait_for("they are there", lambda: server.metric("sawlog_tail_clients") == 5)
    for e in events:
        e.close()
    sawlog.wait_for("they are gone", lambda: server.metric("sawlog_tail_clients") == 0)


# --- others ------------------------------------------------------------------------------------------------------


def follow(server, **params):
    socket = Socket(server, "/api/v1/follow", {"query": '{app="a"}', **params})

    def frame():
        opcode, payload = socket.frame()
        assert opcode == BINARY
        return struct.unpack(">Q", payload[:8])[0], payload[8:]

    return socket, frame


def test_follow_tells_places(server):
    push(server, ["old 1", "old 2"])
    instance = (server.data / "instance").read_text().strip().encode()
    socket, frame = follow(server, form="message")
    begin = frame()
    assert begin == (server.metric("sawlog_sequence"), instance)
    push(server, ["one", "two"])
    first, second = frame(), frame()
    assert [text(first[1]), text(second[1])] == ["one", "two"]
    assert begin[0] < first[0] < second[0]
    socket.close()
    # Behind a place, by the number or by the server's id.
    for cursor in str(first[0]), f"00000000=5,{instance[:8].decode()}={first[0]},@=17":
        socket, frame = follow(server, form="loki", cursor=cursor)
        assert frame() == (first[0], instance)
        seq, data = frame()
        # Not ended: that is for who passes it on.
        assert data.startswith(b'{"streams":[{"stream":{') and data.endswith(b'"two"]') and seq == second[0]
        socket.close()
    with pytest.raises(Refused, match="none of ours"):
        follow(server, cursor="what")
    with pytest.raises(Refused, match="form"):
        follow(server, form="what")


def test_follow_from_a_time_on(server):
    now = time.time_ns()
    push(server, [(now - 100 * 10**9, "too old")])
    push(server, [(now, "first")])
    push(server, [(now - 50 * 10**9, "late")])
    socket, frame = follow(server, form="message", since=str(now - 10 * 10**9))
    frame()
    assert [text(frame()[1]) for _ in range(2)] == ["first", "late"]


def test_a_thousand_tails_within_the_ceiling(nodes):
    """1,000 tails of 50 applications at once: each gets its lines, and memory stays bounded."""
    server = nodes.server(config="memory: 64MiB\n")
    n, apps = (200, 20) if sawlog.SANITIZED else (1000, 50)
    push(server, ["warm"])
    before = server.rss_anon()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        # A server takes so many from one address.
        tails = list(pool.map(lambda i: Socket(server, f"/apps/app{i % apps}/stream", buffer=4096,
                                               source=f"127.0.2.{i % 4 + 1}"), range(n)))
    sawlog.wait_for("all are there", lambda: server.metric("sawlog_tail_clients") == n)
    peak = 0
    for round in range(10):
        for app in range(apps):
            push(server, [f"{round} {k} " + "z" * 200 for k in range(20)], app=f"app{app}")
        peak = max(peak, server.rss_anon())
    for i, tail in enumerate(tails):
        got = [log(m).split()[:2] for m in tail.messages(200)]
        assert got == [[str(r), str(k)] for r in range(10) for k in range(20)], i
    peak = max(peak, server.rss_anon())
    print(f"{n} tails: {(peak - before) / n / 1024:.1f} KiB each, {peak / 2**20:.0f} MiB in all")
    if not sawlog.SANITIZED:
        assert peak < 96 << 20, peak
    for tail in tails:
        tail.close()
    sawlog.wait_for("all are gone", lambda: server.metric("sawlog_tail_clients") == 0)


def test_stop_closes_all_kinds(server):
    tail, stream = Socket(server, "/tail/", {"app": "a"}), Socket(server, "/firehose/x")
    server.child.terminate()
    for socket in tail, stream:
        with pytest.raises(Closed, match="1001 the server is stopping"):
            socket.frame()
    assert server.child.wait(sawlog.PATIENCE) == 0


def test_streams_over_tls(nodes):
    """Events and frames, small and large, by TLS."""
    rabbit.certificate(nodes.folder)
    server = nodes.server(start=False, config=f"http: {{tls: {{cert: {nodes.folder}/cert.pem, "
                                              f"key: {nodes.folder}/key.pem}}}}\n")
    server.url = server.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
    pem = nodes.folder / "cert.pem"
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(pem))))

    def send(lines):
        body = json.dumps({"streams": [{"stream": {"app": "a"}, "values": [[str(time.time_ns() + i), line]
                                                                           for i, line in enumerate(lines)]}]})
        opener.open(urllib.request.Request(server.url + "/loki/api/v1/push", body.encode(),
                                           {"Content-Type": "application/json"}), timeout=sawlog.PATIENCE).close()

    def is_ready():
        try:
            return opener.open(server.url + "/ready", timeout=sawlog.PATIENCE).status == 200
        except OSError:
            return False

    server.start(wait=False)
    sawlog.wait_for("the server is ready", is_ready)
    events, stream = Events(server, "/v2/read", {"log": ""}, secure=pem), Socket(server, "/apps/a/stream", secure=pem)
    send(["small"])
    assert [base64.b64decode(e["log"]["payload"]) for e in batch(events)] == [b"small"]
    assert stream.messages(1, log) == ["small"]
    send([f"{i} " + "x" * 20000 for i in range(100)])
    got = []
    while len(got) < 100:
        got += [base64.b64decode(e["log"]["payload"]).split()[0] for e in batch(events)]
    assert got == [b"%d" % i for i in range(100)]
    assert [log(m).split()[0] for m in stream.messages(100)] == [f"{i}" for i in range(100)]
    events.close()
    stream.close()
