# SPDX-License-Identifier: Apache-2.0
"""What Grafana, Logs Drilldown, logcli and the agents ask, in the order they ask it.

The requests are written down from the documentation of these programs and of
Loki's HTTP API.  `sawlog doctor grafana` makes them too, for a user; here the
answers are held against what was stored.
"""
import gzip
import http.server
import json
import threading
import time
import urllib.parse

import pytest
import sawlog
from test_loki_push import entry, push_request, snappy, stream

S = 10**9
HOUR = 3600 * S
GRAFANA = {"User-Agent": "Grafana/12.0", "X-Query-Tags": "Source=grafana", "X-Scope-OrgID": "team"}
LOGCLI = {"User-Agent": "loki-logcli/3.5", "X-Query-Tags": "source=logcli", "Cache-Control": "no-cache"}
LEVELS = ("info", "info", "info", "warn", "error")


@pytest.fixture
def filled(server):
    """200 lines a service, half of them in a part: logfmt and JSON, with structured metadata."""
    begin = time.time_ns() // (60 * S) * 60 * S - 40 * 60 * S
    server.begin = begin
    for half in (0, 1):
        for app in ("shop", "mail"):
            lines = []
            for i in range(100 * half, 100 * half + 100):
                level = LEVELS[i % 5]
                text = f'level={level} msg="request {i}" took={i}ms' if app == "shop" else \
                    json.dumps({"level": level, "message": f"sent {i}", "size": i, "to": {"host": f"h{i % 3}"}})
                lines.append((begin + i * 10 * S, text, {"trace_id": f"t{i % 10}"}))
            answer = server.push({"app": app, "env": "prod"}, lines, tenant="team")
            assert answer.status == 204, answer.text
        if not half:
            server.call("POST", "/-/flush", b"")
    return server


def ask(server, path, params=None, headers=GRAFANA, status=200):
    answer = server.get(path, params, headers)
    assert answer.status == status, (path, params, answer.text)
    return answer.json() if status == 200 else answer


def samples(answer, kind="matrix"):
    assert answer["status"] == "success" and answer["data"]["resultType"] == kind
    return {tuple(sorted(x["metric"].items())): x["values" if kind == "matrix" else "value"]
            for x in answer["data"]["result"]}


def lines_of(answer):
    assert answer["data"]["resultType"] == "streams"
    return sorted((int(v[0]), v[1]) for s in answer["data"]["result"] for v in s["values"])


# -- Grafana's data source

def test_save_and_test(server):
    """The health check, before there is a single line."""
    answer = ask(server, "/loki/api/v1/query", {"query": "vector(1)+vector(1)", "time": 4000000000})
    (sample,) = samples(answer, "vector").values()
    assert sample == [4000000000, "2"]
    assert ask(server, "/loki/api/v1/status/buildinfo")["version"]
    assert ask(server, "/loki/api/v1/labels", {"start": 0, "end": time.time_ns()})["data"] == []


def test_query_builder(filled):
    window = {"start": filled.begin, "end": filled.begin + HOUR}
    labels = ask(filled, "/loki/api/v1/labels", window)
    assert labels == {"status": "success", "data": ["app", "env", "service_name"]}
    values = ask(filled, "/loki/api/v1/label/app/values", {**window, "query": '{env="prod"}'})
    assert values["data"] == ["mail", "shop"]
    # Names with a / or a blank come as one segment.
    assert ask(filled, "/loki/api/v1/label/no%2Fsuch%20label/values", window)["data"] == []
    series = ask(filled, "/loki/api/v1/series", {**window, "match[]": '{app="shop"}'})["data"]
    assert series == [{"app": "shop", "env": "prod", "service_name": "shop"}]
    stats = ask(filled, "/loki/api/v1/index/stats", {**window, "query": '{app="shop"}'})
    assert set(stats) >= {"streams", "chunks", "entries", "bytes"} and stats["entries"] == 200
    assert "detectedLabels" in ask(filled, "/loki/api/v1/detected_labels", window)
    text = ask(filled, "/loki/api/v1/format_query", {"query": '{app="shop"}|="x"'})["data"]
    assert text.split() == ['{app="shop"}', '|=', '"x"']


def test_explore_logs_with_histogram(filled):
    window = {"start": filled.begin, "end": filled.begin + 2000 * S}
    flags = GRAFANA | {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
    got = ask(filled, "/loki/api/v1/query_range", {
        **window, "query": '{app="shop"} |= `request`', "direction": "backward", "limit": 1000, "step": "2000ms"}, flags)
    assert got["data"]["encodingFlags"] == ["categorize-labels"]
    assert len(lines_of(got)) == 200
    (only,) = got["data"]["result"]
    assert only["stream"] == {"app": "shop", "env": "prod", "service_name": "shop"}
    assert only["values"][0][0] == str(filled.begin + 1990 * S)
    assert only["values"][0][2]["structuredMetadata"] == {"trace_id": "t9", "detected_level": "error"}
    # Without the header metadata shows among the labels.
    got = ask(filled, "/loki/api/v1/query_range", {**window, "query": '{app="shop"}', "limit": 1000})
    assert "encodingFlags" not in got["data"]
    assert {s["stream"]["detected_level"] for s in got["data"]["result"]} == set(LEVELS)
    # The histogram above the lines; steps come in milliseconds.
    got = samples(ask(filled, "/loki/api/v1/query_range", {
        "start": filled.begin, "end": filled.begin + 2000 * S, "step": "200000ms",
        "query": "sum by (level, detected_level) (count_over_time({app=`shop`} |= `request` | drop __error__ [200s]))"},
        GRAFANA | {"X-Query-Tags": "Source=logvolhist"}))
    assert {dict(k)["detected_level"] for k in got} == set(LEVELS)
    assert sum(int(v) for values in got.values() for _, v in values) == 200
    # Lines around one.
    at = filled.begin + 500 * S
    before = ask(filled, "/loki/api/v1/query_range", {
        "query": '{app="shop", env="prod"}', "start": at - 2 * HOUR, "end": at, "limit": 10, "direction": "BACKWARD"})
    after = ask(filled, "/loki/api/v1/query_range", {
        "query": '{app="shop", env="prod"}', "start": at, "end": at + 2 * HOUR, "limit": 10, "direction": "FORWARD"})
    assert [t for t, _ in lines_of(before)] == [at - (10 - k) * 10 * S for k in range(10)]
    assert [t for t, _ in lines_of(after)] == [at + k * 10 * S for k in range(10)]


def test_explore_by_form_post(filled):
    form = urllib.parse.urlencode({"query": 'sum(count_over_time({app="shop"}[1h]))',
                                   "time": (filled.begin + 2000 * S) / S}).encode()
    answer = filled.call("POST", "/loki/api/v1/query", form,
                         GRAFANA | {"Content-Type": "application/x-www-form-urlencoded"})
    (sample,) = samples(answer.json(), "vector").values()
    assert sample[1] == "200"


def test_days_are_asked_in_pieces_and_merged(filled):
    """A long range is split into days that share the axis of steps: no sample twice, none missing."""
    query, step = 'sum(count_over_time({app="shop"}[300s]))', 300 * S
    begin = filled.begin // step * step - 24 * HOUR
    whole = ask(filled, "/loki/api/v1/query_range", {
        "query": query, "start": begin, "end": begin + 48 * HOUR, "step": "300000ms"})
    (want,) = samples(whole).values()
    merged = []
    for at in (begin, begin + 24 * HOUR + step):
        end = min(at + 24 * HOUR, begin + 48 * HOUR)
        piece = samples(ask(filled, "/loki/api/v1/query_range", {
            "query": query, "start": at, "end": end, "step": "300000ms"}))
        merged += [v for values in piece.values() for v in values]
    assert merged == want


def test_live_tail(filled):
    tail = filled.tail('{app="live"}', delay_for=0, limit=100, start=time.time_ns() - HOUR)
    now = time.time_ns()
    filled.push({"app": "live"}, [(now, "one"), (now + 1, "two")])
    assert [e[1] for e in tail.entries(2)] == ["one", "two"]
    tail.close()


@pytest.mark.parametrize("moment", [
    "4000000000", "4000000000.5", "4000000000000000000", "2096-10-02T07:06:40Z", "2096-10-02T07:06:40.123456789Z",
    "2096-10-02T09:06:40+02:00"])
def test_forms_of_time(server, moment):
    answer = ask(server, "/loki/api/v1/query", {"query": "vector(7)", "time": moment})
    (sample,) = samples(answer, "vector").values()
    assert int(float(sample[0])) == 4000000000 and sample[1] == "7"


@pytest.mark.parametrize("step,points", [("60000ms", 61), ("60s", 61), ("1m", 61), ("60", 61), ("60.0", 61), ("", 240)])
def test_forms_of_step(server, step, points):
    end = time.time_ns()
    params = {"query": "vector(1)", "start": end - HOUR, "end": end} | ({"step": step} if step else {})
    (values,) = samples(ask(server, "/loki/api/v1/query_range", params)).values()
    assert abs(len(values) - points) <= 20 if not step else len(values) == points


@pytest.mark.parametrize("path,params,word", [
    ("query_range", {"query": '{app="a"'}, "parse error at line 1, col"),
    ("query_range", {"query": '{app="a"}', "start": 20, "end": 10}, "end timestamp must not be before"),
    ("query_range", {"query": 'rate({app="a"}[1m])', "step": "0"}, "zero or negative query resolution"),
    ("query_range", {"query": 'rate({app="a"}[1m])', "step": "1ms"}, "11,000 points"),
    ("query_range", {"query": '{app="a"}', "limit": "-5"}, "limit"),
    ("query_range", {"query": '{app="a"}', "direction": "up"}, "direction"),
    ("query_range", {"query": '{app="a"}', "start": "yesterday"}, "start"),
    ("query", {"query": '{app="a"}'}, "log queries are not supported as an instant query type"),
    ("query", {"query": ""}, "parse error"),
    ("series", {"match[]": 'rate({a="b"}[1m])'}, "only label matchers"),
])
def test_mistakes_are_sentences(server, path, params, word):
    answer = ask(server, "/loki/api/v1/" + path, params, status=400)
    assert word in answer.text and "\n" not in answer.text.strip()
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


# -- Logs Drilldown

def test_drilldown(filled):
    window = {"start": filled.begin, "end": filled.begin + 2000 * S}
    assert ask(filled, "/loki/api/v1/drilldown-limits")["pattern_ingester_enabled"] is True
    # The page of services: by volume, then for each a panel of levels and a few lines.
    volume = samples(ask(filled, "/loki/api/v1/index/volume", {
        **window, "query": '{service_name=~".+"}', "targetLabels": "service_name", "limit": 5000}), "vector")
    assert {dict(k)["service_name"] for k in volume} == {"shop", "mail"}
    levels = samples(ask(filled, "/loki/api/v1/query_range", {
        **window, "step": "100000ms",
        "query": 'sum by (detected_level) (count_over_time({service_name=`shop`} | detected_level != "" [100s]))'}))
    assert {dict(k)["detected_level"] for k in levels} == set(LEVELS)
    by_level = samples(ask(filled, "/loki/api/v1/index/volume_range", {
        **window, "query": '{service_name="shop"}', "targetLabels": "detected_level", "step": "100s"}))
    assert {dict(k)["detected_level"] for k in by_level} == set(LEVELS)
    # A service: its labels, fields, patterns.
    labels = ask(filled, "/loki/api/v1/detected_labels", {**window, "query": '{service_name="shop"}'})["detectedLabels"]
    assert {x["label"]: x["cardinality"] for x in labels} == {"app": 1, "env": 1, "service_name": 1}
    fields = {f["label"]: f for f in ask(filled, "/loki/api/v1/detected_fields", {
        **window, "query": '{service_name="mail"}', "line_limit": 1000})["fields"]}
    assert fields["to_host"]["cardinality"] == 3 and fields["to_host"]["jsonPath"] == ["to", "host"]
    assert fields["size"]["type"] == "int" and fields["size"]["parsers"] == ["json"]
    assert fields["trace_id"]["parsers"] is None
    values = ask(filled, "/loki/api/v1/detected_field/to_host/values", {
        **window, "query": '{service_name="mail"}', "limit": 1000})["values"]
    assert values == ["h0", "h1", "h2"]
    patterns = ask(filled, "/loki/api/v1/patterns", {**window, "query": '{service_name="shop"}', "step": "100s"})["data"]
    assert sum(n for p in patterns for _, n in p["samples"]) == 200
    # A field's panel, by what the parser finds.
    got = samples(ask(filled, "/loki/api/v1/query_range", {
        **window, "step": "2000s",
        "query": 'sum by (to_host) (count_over_time({service_name="mail"} | json to_host="to.host" | drop __error__'
                 ' | to_host != "" [2000s]))'}))
    assert {dict(k)["to_host"] for k in got} == {"h0", "h1", "h2"}


# -- logcli

def test_logcli(filled):
    team = LOGCLI | {"X-Scope-OrgID": "team"}
    window = {"start": filled.begin, "end": filled.begin + 2000 * S}
    assert ask(filled, "/loki/api/v1/labels", window, team)["data"] == ["app", "env", "service_name"]
    # `series` sends match, once for each selector.
    series = ask(filled, "/loki/api/v1/series", {**window, "match": ['{app="shop"}', '{app="mail"}']}, team)["data"]
    assert {s["app"] for s in series} == {"shop", "mail"}
    assert len(ask(filled, "/loki/api/v1/series", {**window, "match": "{}"}, team)["data"]) == 2
    # `query --limit=0 --batch=30`: the end moves to the oldest line of a batch, which may come twice.
    seen, end = [], window["end"]
    while True:
        got = lines_of(ask(filled, "/loki/api/v1/query_range", {
            "query": '{app="shop"}', "start": window["start"], "end": end, "limit": 30, "direction": "BACKWARD"}, team))
        fresh = [x for x in got if x not in seen]
        seen += fresh
        if not fresh:
            break
        end = min(t for t, _ in got) + 1
    assert len(seen) == 200 and len(set(seen)) == 200
    got = ask(filled, "/loki/api/v1/query", {
        "query": 'sum by (app) (count_over_time({env="prod"}[1h]))', "time": window["end"], "limit": 30}, team)
    assert {dict(k)["app"]: v[1] for k, v in samples(got, "vector").items()} == {"shop": "200", "mail": "200"}
    assert ask(filled, "/loki/api/v1/index/stats", {**window, "query": '{app="shop"}'}, team)["streams"] == 1
    for name in ("volume", "volume_range"):
        got = ask(filled, f"/loki/api/v1/index/{name}", {**window, "query": '{app=~".+"}', "limit": 30, "step": "1h"}, team)
        assert {x["metric"]["app"] for x in got["data"]["result"]} == {"shop", "mail"}
    fields = ask(filled, "/loki/api/v1/detected_fields", {**window, "query": '{app="shop"}', "field_limit": 100}, team)
    assert {"level", "msg", "took"} <= {f["label"] for f in fields["fields"]}


# -- agents

def test_promtail_and_alloy(server):
    """Snappy protobuf, which they send by default; both name themselves and may name a tenant."""
    now = time.time_ns()
    for agent in ("promtail/3.5.0", "Alloy/v1.9.0 (linux; docker)"):
        body = snappy(push_request(stream(f'{{job="varlogs", agent="{agent[:5]}"}}', [
            entry(now, "one"), entry(now + 1, "two", {"filename": "/var/log/syslog"})])))
        answer = server.call("POST", "/loki/api/v1/push", body, {
            "Content-Type": "application/x-protobuf", "User-Agent": agent, "X-Scope-OrgID": "edge"})
        assert answer.status == 204 and answer.body == b""
    got = server.entries('{job="varlogs"}', tenant="edge")
    assert [line for _, line, _ in got] == ["one", "one", "two", "two"]
    assert {labels.get("filename") for _, line, labels in got if line == "two"} == {"/var/log/syslog"}


def test_vector_and_fluent_bit(server):
    now = time.time_ns()
    assert server.get("/ready").status == 200  # Vector's health check
    body = json.dumps({"streams": [{"stream": {"job": "vector"}, "values": [[str(now), '{"message":"hi"}']]}]}).encode()
    json_type = {"Content-Type": "application/json"}
    assert server.call("POST", "/loki/api/v1/push", body, json_type).status == 204
    body = gzip.compress(body.replace(b"hi", b"ho"))
    assert server.call("POST", "/loki/api/v1/push", body, json_type | {"Content-Encoding": "gzip"}).status == 204
    body = json.dumps({"streams": [{"stream": {"job": "fluent-bit"}, "values": [
        [str(now), 'key="value"', {"trace": "x"}]]}]}).encode()
    assert server.call("POST", "/loki/api/v1/push", body, json_type | {"User-Agent": "Fluent-Bit"}).status == 204
    assert server.lines('{job="vector"}') == ['{"message":"hi"}', '{"message":"ho"}']
    assert server.entries('{job="fluent-bit"}')[0][2]["trace"] == "x"


# -- sawlog doctor grafana

def doctor(url, *args):
    r = sawlog.run("doctor", "grafana", url, *args, timeout=60)
    return r.returncode, r.stdout.decode().splitlines(), r.stderr.decode()


def test_doctor_finds_nothing_wrong(filled):
    for args in ((), ("--tenant", "team"), ("--push",)):
        code, lines, err = doctor(filled.url, *args)
        assert code == 0 and lines and all(x.startswith("ok ") for x in lines), (lines, err)
        assert f"{len(lines)} checks, 0 failed" in err
    assert filled.lines('{app="sawlog-doctor"}') == ["sawlog doctor was here"] * 3


def test_doctor_names_what_is_wrong(nodes):
    """A server that is none of ours, a server that is not there, and one that asks for a token."""
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status":"success","data":[]}')

        do_POST = do_GET

        def log_message(self, *args):
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        code, lines, _ = doctor(f"http://127.0.0.1:{other.server_port}")
    finally:
        other.shutdown()
        other.server_close()
    assert code == 1
    assert lines[0].startswith("failed  Grafana: health check: ") and "Save & test" in lines[1]
    assert "ok      Grafana: names of labels" in lines
    code, lines, _ = doctor(f"http://127.0.0.1:{sawlog.free_port()}")
    assert code == 1 and len(lines) == 2 and "refused" in lines[0]
    file = nodes.folder / "tokens"
    token = sawlog.run("token", "create", "--tokens-file", file, "--scope", "read,ingest", "g").stdout.decode().strip()
    server = nodes.server(config=f"auth: {{tokens_file: {file}}}\n")
    code, lines, _ = doctor(server.url)
    assert code == 1 and "token" in lines[0]
    code, lines, _ = doctor(server.url, "--token", token, "--push")
    assert code == 0, lines
