# SPDX-License-Identifier: Apache-2.0
"""Loki push and Loki's read API: what goes in comes out."""
import json
import time

import sawlog

NS = 1_000_000_000


def test_push_and_query(server):
    t = time.time_ns()
    lines = ["first", 'quotes " \\ and\ttab', "ünïcödé ✓", "", "x" * 5000, "nul\0inside"]
    answer = server.push({"app": "web", "env": "test"}, lines, t)
    assert (answer.status, answer.body) == (204, b"")
    got = server.entries('{app="web"}')
    assert [(ns, line) for ns, line, _ in got] == [(t + i, line) for i, line in enumerate(lines)]
    assert got[0][2]["env"] == "test" and got[0][2]["service_name"] == "web"


def test_gzip_and_metadata(server):
    t = time.time_ns()
    assert server.push({"app": "z"}, [(t, "with metadata", {"trace": "abc", "user": "7"})],
                       zipped=True).status == 204
    ns, line, labels = server.entries('{app="z"}')[0]
    assert (ns, line) == (t, "with metadata")
    assert labels["trace"] == "abc" and labels["user"] == "7"
    categorized = server.get("/loki/api/v1/query_range", {"query": '{app="z"}'},
                             {"X-Loki-Response-Encoding-Flags": "categorize-labels"}).json()
    value = categorized["data"]["result"][0]["values"][0]
    assert value[2]["structuredMetadata"]["trace"] == "abc"
    assert categorized["data"]["encodingFlags"] == ["categorize-labels"]
    assert "trace" not in categorized["data"]["result"][0]["stream"]


def test_direction_limit_and_pages(server):
    t = time.time_ns() - 3600 * NS
    server.push({"app": "p"}, [(t, f"line {i}") for i in range(100)])  # all at the same time
    for direction, order in (("forward", list(range(100))), ("backward", list(range(99, -1, -1)))):
        seen, cursor = [], None
        while True:
            more = {"cursor": cursor} if cursor else {}
            data = server.query('{app="p"}', limit=7, direction=direction, **more)["data"]
            seen += [v[1] for s in data["result"] for v in s["values"]]
            cursor = data["sawlog"].get("next")
            if not cursor:
                break
        assert seen == [f"line {i}" for i in order]


def test_filters_and_matchers(server):
    server.push({"app": "a", "host": "h1"}, ["GET /x 200", "GET /y 500", "POST /x 500"])
    server.push({"app": "b", "host": "h2"}, ["GET /z 404"])
    assert server.lines('{app="a"} |= "500" != "POST"') == ["GET /y 500"]
    assert server.lines('{app=~"a|b"} |~ "GET /[yz]"') == ["GET /y 500", "GET /z 404"]
    assert server.lines('{app!="a"} !~ "POST"') == ["GET /z 404"]
    assert server.lines('{host!~"h1"}') == ["GET /z 404"]
    assert len(server.lines("{}")) == 4


def test_counts(server):
    t = (time.time_ns() // (60 * NS) - 10) * 60 * NS
    for i in range(5):
        server.push({"app": "m", "k": str(i % 2)}, [(t + i * 60 * NS + 1, "x")] * (i + 1))
    q = 'sum(count_over_time({app="m"}[1m]))'
    data = server.query(q, start=t + 60 * NS, end=t + 300 * NS, step="60s")["data"]
    assert data["resultType"] == "matrix"
    assert [[int(float(x)), v] for x, v in data["result"][0]["values"]] == [
        [t // NS + 60 * (i + 1), str(i + 1)] for i in range(5)]
    # With align=end the last step is the end, so that what came since the last one counts; the command line asks so.
    window = {"start": t + 70 * NS, "end": t + 300 * NS, "step": "60s"}
    for more, last in (({}, t + 250 * NS), ({"align": "end"}, t + 300 * NS)):
        values = server.query(q, **window, **more)["data"]["result"][0]["values"]
        assert int(float(values[-1][0])) == last // NS
        assert len(values) == 4
    server.push({"app": "fresh"}, ["now"])
    out = sawlog.run("query", 'sum(count_over_time({app="fresh"}[5m]))', "--addr", server.url, "-o", "raw")
    assert out.returncode == 0 and out.stdout.strip(), out.stderr
    instant = server.get("/loki/api/v1/query", {
        "query": 'sum by (k) (count_over_time({app="m"}[1h]))', "time": t + 600 * NS}).json()["data"]
    assert instant["resultType"] == "vector"
    assert {r["metric"]["k"]: r["value"][1] for r in instant["result"]} == {"0": "9", "1": "6"}


def test_labels_values_series(server):
    server.push({"app": "a", "env": "x"}, ["1"])
    server.push({"app": "b", "env": "y"}, ["2"])
    assert server.get("/loki/api/v1/labels").json()["data"] == ["app", "env", "service_name"]
    assert server.get("/loki/api/v1/label/app/values").json()["data"] == ["a", "b"]
    assert server.get("/loki/api/v1/label/app/values", {"query": '{env="y"}'}).json()["data"] == ["b"]
    assert server.get("/loki/api/v1/series", {"match[]": '{app="a"}'}).json()["data"] == [
        {"app": "a", "env": "x", "service_name": "a"}]
    assert len(server.get("/loki/api/v1/series", {"match": "{}"}).json()["data"]) == 2


def test_tenants_never_mix(server):
    server.push({"app": "same"}, ["of one"], tenant="one")
    server.push({"app": "same"}, ["of two"], tenant="two")
    assert server.lines('{app="same"}', tenant="one") == ["of one"]
    assert server.lines('{app="same"}', tenant="two") == ["of two"]
    assert server.lines('{app="same"}') == []


def test_discover_off_gives_back_what_was_sent(nodes):
    server = nodes.server(config="discover: {service_name: false, level: false}\n")
    server.push({"app": "a"}, ["level=error it broke"])
    assert server.entries('{app="a"}')[0][2] == {"app": "a"}


def test_detected_level(server):
    server.push({"app": "a"}, ["2026-01-01T00:00:00Z ERROR it broke", "quiet words"])
    got = {line: labels["detected_level"] for _, line, labels in server.entries('{app="a"}')}
    assert got == {"2026-01-01T00:00:00Z ERROR it broke": "error", "quiet words": "unknown"}


def test_survives_restart(server):
    server.push({"app": "a"}, [f"line {i}" for i in range(1000)])
    assert server.stop() == 0
    server.start()
    assert server.lines('{app="a"}') == [f"line {i}" for i in range(1000)]


def test_legacy_and_form_post(server):
    body = json.dumps({"streams": [{"labels": '{app="old"}', "entries": [
        {"ts": "2026-08-21T10:00:00Z", "line": "legacy"}]}]}).encode()
    assert server.call("POST", "/api/prom/push", body, {"Content-Type": "application/json"}).status == 204
    form = b"query=%7Bapp%3D%22old%22%7D&start=0&limit=10"
    answer = server.call("POST", "/loki/api/v1/query_range", form,
                         {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.json()["data"]["result"][0]["values"][0][1] == "legacy"
