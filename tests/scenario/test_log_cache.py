# SPDX-License-Identifier: Apache-2.0
"""log-cache's HTTP API: what `cf logs`, `cf tail` and `cf log-meta` of today ask."""
import base64
import json
import time

import pytest
import sawlog
from loggregator import DropsondeEmitter
from sawlog import wait_for

T = 1_700_000_000_000_000_000
APP = "01234567-89ab-cdef-0123-456789abcdef"


def read(server, source, **params):
    answer = server.get(f"/api/v1/read/{source}", params)
    assert answer.status == 200, answer.text
    assert answer.body.endswith(b"}}\n")
    shown = answer.json()
    assert set(shown) == {"envelopes"} and set(shown["envelopes"]) == {"batch"}
    return shown["envelopes"]["batch"]


def payloads(batch):
    return [base64.b64decode(x["log"]["payload"]).decode() for x in batch]


def walk(server, source, limit, **params):
    """All envelopes page by page, as its Go client walks: on from the last time and a nanosecond."""
    start, found = 0, []
    while True:
        page = read(server, source, start_time=start, limit=limit, **params)
        if not page:
            return found
        found += page
        start = int(page[-1]["timestamp"]) + 1


@pytest.fixture
def metrics(nodes):
    """A server that has one of each type, at T, T + 1, …"""
    port = sawlog.free_port()
    server = nodes.server(config=f"inputs:\n- loggregator: {{listen: 'udp://127.0.0.1:{port}'}}\n")
    with DropsondeEmitter(("127.0.0.1", port), app=APP, origin="doppler") as e:
        e.emit("out", timestamp=T)
        e.emit("err", err=True, timestamp=T + 1)
        e.container(12.5, 100, 200, 300, 400, index=3, timestamp=T + 2)
        e.http("http://x/", 200, T, T + 9, timestamp=T + 3)
        e.app = "doppler"
        e.counter("requests", 2, 10, timestamp=T + 4)
        e.metric("latency", 1.5, "ms", timestamp=T + 5)
    wait_for("all are there", lambda: len(server.entries('{app!=""}')) == 6)
    return server


def test_an_envelope(metrics):
    out, err, gauge, *_ = read(metrics, APP)
    assert set(out) == {"timestamp", "source_id", "instance_id", "deprecated_tags", "tags", "log"}
    assert (out["timestamp"], out["source_id"], out["instance_id"]) == (str(T), APP, "0")
    assert out["log"] == {"payload": base64.b64encode(b"out").decode(), "type": "OUT"}
    assert out["tags"]["source_type"] == "APP" and out["deprecated_tags"] == {}
    assert err["log"]["type"] == "ERR"
    assert gauge["instance_id"] == "3"
    assert gauge["gauge"]["metrics"]["cpu"]["value"] == 12.5


def test_types(metrics):
    def kinds(source, *types):
        return [next(k for k in ("log", "counter", "gauge", "timer", "event") if k in x)
                for x in read(metrics, source, envelope_types=types)]

    assert kinds(APP) == kinds(APP, "ANY") == ["log", "log", "gauge", "timer"][:len(kinds(APP))]
    assert kinds(APP, "LOG") == ["log", "log"]
    assert kinds(APP, "GAUGE") == ["gauge"]
    assert kinds(APP, "LOG", "GAUGE") == ["log", "log", "gauge"]
    assert kinds(APP, "1") == ["log", "log"]
    assert kinds(APP, "COUNTER") == kinds(APP, "EVENT") == []
    assert kinds("doppler") == ["counter", "gauge"] or kinds("doppler", "COUNTER") == []


def test_filter_by_name(metrics):
    def named(source, pattern):
        return len(read(metrics, source, name_filter=pattern))

    assert named(APP, "cpu") == 1
    assert named(APP, "^c.u$") == 1
    assert named(APP, "out") == 0  # logs have no name
    answer = metrics.get(f"/api/v1/read/{APP}?name_filter=(")
    assert answer.status == 400 and "name_filter" in answer.json()["error"]


def test_a_filter_reads_on_until_the_page_is_full(nodes):
    port = sawlog.free_port()
    server = nodes.server(config=f"inputs:\n- loggregator: {{listen: 'udp://127.0.0.1:{port}'}}\n")
    server.push({"app": "a"}, [(T + i, f"line {i}") for i in range(3000)])
    with DropsondeEmitter(("127.0.0.1", port), app="a") as e:
        e.container(1, 2, 3, timestamp=T + 2500)
        e.container(2, 2, 3, timestamp=T + 2900)
    wait_for("all are there", lambda: len(server.entries('{app="a"}')) == 3002)
    assert [x["timestamp"] for x in read(server, "a", name_filter="cpu")] == [str(T + 2500), str(T + 2900)]
    assert [x["timestamp"] for x in read(server, "a", name_filter="cpu", limit=1, descending="true")] == \
        [str(T + 2900)]


def test_times_and_limits(server):
    server.push({"app": "a"}, [(T + i, str(i)) for i in range(200)])
    assert payloads(read(server, "a")) == [str(i) for i in range(100)]
    assert payloads(read(server, "a", limit=0)) == [str(i) for i in range(100)]
    assert payloads(read(server, "a", start_time=T + 5, end_time=T + 8)) == ["5", "6", "7"]
    assert payloads(read(server, "a", limit=3, descending="true")) == ["199", "198", "197"]
    assert payloads(read(server, "a", end_time=T + 100, limit=2, descending="true")) == ["99", "98"]
    assert payloads(read(server, "a", start_time=T + 7, end_time=T + 7)) == []
    assert len(read(server, "a", limit=1000)) == 200
    # Without an end it is now.
    server.push({"app": "a"}, [(time.time_ns() + 3600 * 10**9, "of the future")])
    assert len(read(server, "a", limit=1000)) == 200


@pytest.mark.parametrize("params, words", [
    ({"limit": 1001}, "Limit (1001) must be 1000 or less"),
    ({"limit": -1}, "Limit (-1)"),
    ({"start_time": 5, "end_time": 4}, "StartTime (5) must be before EndTime (4)"),
    ({"start_time": "x"}, "start_time"),
    ({"end_time": 1 << 64}, "end_time"),
    ({"envelope_types": "LOGS"}, "envelope_types"),
])
def test_errors(server, params, words):
    answer = server.get("/api/v1/read/a", params)
    assert answer.status == 400
    assert words in answer.json()["error"] and answer.json()["message"] == answer.json()["error"]


def test_equal_times_all_come(server):
    """W-D11: log-cache took the time for the identity, so that envelopes of one nanosecond overwrote each other;
    and a client that goes on behind the last time must miss none that have it."""
    expected = []
    for i in range(40):
        lines = [(T + i, f"{i}.{k}") for k in range(i % 7 + 1)]
        expected += lines
        for instance in 0, 1:
            server.push({"app": "a", "source": f"APP/{instance}"}, lines)
    expected = sorted([line for _, line in expected] * 2)
    for limit in 1, 2, 3, 7, 14, 100, 1000:
        assert sorted(payloads(walk(server, "a", limit))) == expected, limit
    # Pages are no longer than asked for unless all of one is of one time.
    assert len(read(server, "a", limit=10)) <= 10
    assert len(read(server, "a", start_time=T + 6, limit=3)) == 14
    # The other way there is no next page to think of.
    assert len(read(server, "a", limit=3, descending="true")) == 3


def test_ids_with_slashes(server):
    server.push({"app": "a/b/c"}, [(T, "slashes")])
    assert payloads(read(server, "a/b/c")) == ["slashes"]
    assert payloads(read(server, "a%2Fb%2Fc")) == ["slashes"]
    assert read(server, "a") == []


def test_pages_of_any_size(nodes):
    """W-D5: 1,000 lines of 60 KB come in pages, forward; the newest ones when they are asked for backward."""
    server = nodes.server()
    for i in range(0, 1000, 100):
        assert server.push({"app": "a"}, [(T + n, f"{n:04} " + "x" * 60000) for n in range(i, i + 100)]).status == 204
    assert [p[:4] for p in payloads(walk(server, "a", 1000))] == [f"{i:04}" for i in range(1000)]
    newest = [p[:4] for p in payloads(read(server, "a", limit=1000, descending="true"))]
    assert len(newest) > 100 and newest == [f"{999 - i:04}" for i in range(len(newest))]


def test_meta(server):
    assert server.get("/api/v1/meta").json() == {"meta": {}}
    server.push({"app": "a", "source": "APP/0"}, [(T, "x"), (T + 5, "y")])
    server.push({"app": "a", "source": "APP/1"}, [(T - 5, "z")])
    server.push({"app": 'b "quoted"'}, [(T, "x")])
    server.push({"job": "no application"}, ["x"])
    server.push({"app": "c"}, ["x"], tenant="other")
    for _ in range(2):
        meta = server.get("/api/v1/meta").json()["meta"]
        assert set(meta) == {"a", 'b "quoted"'}
        assert meta["a"] == {"count": "3", "expired": "0", "oldest_timestamp": str(T - 5),
                             "newest_timestamp": str(T + 5)}
        server.call("POST", "/-/flush")


def test_meta_of_many(server):
    """Where it takes too long to find the exact times, they are at most as wide as what the store knows at once."""
    n, now = 1500, time.time_ns()
    streams = [{"stream": {"app": f"app-{i}"}, "values": [[str(now + i), "a line"]]} for i in range(n)]
    for i in range(0, n, 500):
        body = json.dumps({"streams": streams[i:i + 500]}).encode()
        assert server.call("POST", "/loki/api/v1/push", body, {"Content-Type": "application/json"}).status == 204
    began = time.monotonic()
    meta = server.get("/api/v1/meta").json()["meta"]
    assert time.monotonic() - began < 10
    assert len(meta) >= n and all(meta[f"app-{i}"]["count"] == "1" for i in range(n))
    for i in range(n):
        assert int(meta[f"app-{i}"]["oldest_timestamp"]) <= now + i <= int(meta[f"app-{i}"]["newest_timestamp"])


def test_info(server):
    info = server.get("/api/v1/info").json()
    assert set(info) == {"version", "vm_uptime"}
    assert info["version"].count(".") == 2 and int(info["vm_uptime"]) > 0


def test_over_several_servers(nodes):
    servers = [sawlog.Server(nodes.folder / name, name=name, config="{}\n") for name in ("first", "second")]
    first, second = servers
    try:
        first.start()
        second.config.write_text(f"peers: ['{first.url}']\n")
        second.start()
        first.push({"app": "a"}, [(T, "of the first")])
        second.push({"app": "a"}, [(T + 1, "of the second")])
        assert payloads(read(second, "a")) == ["of the first", "of the second"]
        assert second.get("/api/v1/meta").json()["meta"]["a"]["count"] == "2"
        assert payloads(read(second, "a", local="true")) == ["of the second"]
    finally:
        for s in servers:
            s.close()


# --- PromQL ------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(nodes):
    """A counter that grows by 2 a second and a gauge, each 15 s for ten minutes up to now."""
    port = sawlog.free_port()
    server = nodes.server(config=f"inputs:\n- loggregator: {{listen: 'udp://127.0.0.1:{port}'}}\n")
    server.now = time.time_ns() // 10**9
    with DropsondeEmitter(("127.0.0.1", port), app="x", origin="doppler", tags={"zone.id": "z1"}) as e:
        for i in range(41):
            at = (server.now - 600 + 15 * i) * 10**9
            e.counter("http.requests", 30, 30 * i, timestamp=at)
            e.metric("latency", float(i), "ms", timestamp=at)
    wait_for("all are there", lambda: len(server.entries('{app="doppler"}')) == 82)
    return server


def promql(server, query, path="query", **params):
    answer = server.get(f"/api/v1/{path}", {"query": query, **params})
    assert answer.status == 200, answer.text
    shown = answer.json()
    assert shown["status"] == "success"
    return shown["data"]


def test_promql_instant(measured):
    def values(query):
        data = promql(measured, query, time=measured.now)
        assert data["resultType"] == "vector"
        return [float(x["value"][1]) for x in data["result"]]

    assert values('http_requests{source_id="doppler"}') == [1200]
    assert values('latency{source_id="doppler"} * 2') == [80]
    assert values('latency{source_id="doppler",zone_id="z1"}') == [40]
    assert values('latency{source_id="doppler",zone_id!="z1"}') == []
    assert values('latency{source_id="other"}') == []
    assert values('rate(http_requests{source_id="doppler"}[5m])') == [2]
    assert values('sum(avg_over_time(latency{source_id=~"dop.*|x"}[1m]))') == [38.5]
    data = promql(measured, 'latency{source_id="doppler"}', time=measured.now)
    sample, = data["result"]
    assert sample["metric"]["source_id"] == "doppler" and sample["metric"]["zone_id"] == "z1"
    assert "__name__" not in sample["metric"]
    assert sample["value"] == [measured.now, "40"]
    names = {x["metric"]["__name__"] for x in
             promql(measured, '{source_id="doppler"}', time=measured.now)["result"]}
    assert names == {"http_requests", "latency"}
    assert promql(measured, "6 * 7", time=measured.now) == {"resultType": "scalar", "result": [measured.now, "42"]}


def test_promql_range(measured):
    now = measured.now
    data = promql(measured, 'latency{source_id="doppler"}', "query_range", start=now - 60, end=now, step="15s")
    assert data["resultType"] == "matrix"
    assert data["result"][0]["values"] == [[now - 60 + 15 * i, str(36 + i)] for i in range(5)]
    assert promql(measured, 'latency{source_id="y"}', "query_range", start=now - 60, end=now, step=15)["result"] == []
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = measured.call("POST", "/api/v1/query", f"query=latency%7Bsource_id=%22doppler%22%7D&time={now}".encode(), form)
    assert answer.json()["data"]["result"][0]["value"][1] == "40"


def test_promql_errors(measured):
    for query, words in [
            ("latency", "Metric 'latency' does not have a 'source_id' label."),
            ('sum(latency{source_id=""})', "'source_id'"),
            ('latency{source_id="x"', "parse error"),
            ('predict_linear(latency{source_id="x"}[5m], 3)', "not supported"),
            ("", "an expression is missing")]:
        answer = measured.get("/api/v1/query", {"query": query})
        assert answer.status == 400
        shown = answer.json()
        assert shown["status"] == "error" and shown["errorType"] == "internal" and words in shown["error"], query
