# SPDX-License-Identifier: Apache-2.0
"""Detected labels and fields: what Drilldown and logcli offer to choose from."""
import time

S = 10**9


def get(server, path, **params):
    answer = server.get("/loki/api/v1/" + path, {"since": "1h", **params})
    assert answer.status == 200, answer.text
    return answer.json()


def test_detected_labels(server):
    for i in range(5):
        server.push({"app": "shop", "host": f"h{i}"}, ["x"])
    server.push({"app": "mail"}, ["x"])
    got = {x["label"]: x["cardinality"] for x in get(server, "detected_labels")["detectedLabels"]}
    assert got == {"app": 2, "host": 5, "service_name": 2}
    got = {x["label"]: x["cardinality"] for x in get(server, "detected_labels", query='{host=~".+"}')["detectedLabels"]}
    assert got == {"app": 1, "host": 5, "service_name": 1}
    answer = server.get("/loki/api/v1/detected_labels", {"query": '{app="x"} |= "y"'})
    assert answer.status == 400 and "matchers" in answer.text


def fields(server, **params):
    answer = get(server, "detected_fields", **params)
    return {f["label"]: f for f in answer["fields"]}


def test_fields_of_json_logfmt_and_metadata(server):
    now = time.time_ns() - 60 * S
    server.push({"app": "j", "host": "a"}, [
        (now, '{"status": 200, "took": "15ms", "ok": true, "size": "20MB", "ratio": 0.5, "user": {"na me": "x", "1d": 7},'
              ' "host": "inner", "list": [1], "none": null}', {"trace_id": "abc"}),
        (now + 1, '{"status": 404, "took": "2s", "ok": false, "size": "7KB", "ratio": 3, "user": {"na me": "y"}}')])
    got = fields(server, query='{app="j"}')
    assert {k: f["type"] for k, f in got.items()} == {
        "status": "int", "took": "duration", "ok": "boolean", "size": "bytes", "ratio": "float",
        "user_na_me": "string", "user_1d": "int", "host_extracted": "string", "trace_id": "string",
        "detected_level": "string"}
    assert got["status"] == {"label": "status", "type": "int", "cardinality": 2, "parsers": ["json"],
                             "jsonPath": ["status"]}
    assert got["user_na_me"]["jsonPath"] == ["user", "na me"]
    assert got["trace_id"]["parsers"] is None and "jsonPath" not in got["trace_id"]
    server.push({"app": "l"}, [(now, 'level=info msg="hello there" took=5 n=1'),
                               (now + 1, "level=warn took=1.5 n=x other words")])
    got = fields(server, query='{app="l"}')
    assert {k: f["type"] for k, f in got.items()} == {
        "level": "string", "msg": "string", "took": "float", "n": "string", "detected_level": "string"}
    assert got["level"]["parsers"] == ["logfmt"] and got["level"]["cardinality"] == 2
    # Both at once.
    both = fields(server, query='{app=~"j|l"}')
    assert both["took"]["parsers"] == ["json", "logfmt"]


def test_values_and_limits(server):
    now = time.time_ns() - 60 * S
    server.push({"app": "l"}, [(now + i, f"user=u{i % 7} n={i} k{i}=v") for i in range(50)])
    got = get(server, "detected_field/user/values", query='{app="l"}')
    assert got["values"] == [f"u{i}" for i in range(7)] and got["limit"] == 1000
    assert get(server, "detected_field/user/values", query='{app="l"}', limit=3)["values"] == ["u0", "u1", "u2"]
    assert get(server, "detected_field/none/values", query='{app="l"}')["values"] == []
    answer = get(server, "detected_fields", query='{app="l"}', limit=10)
    assert len(answer["fields"]) == 10 and answer["limit"] == 10
    assert get(server, "detected_fields", query='{app="l"}', field_limit=4)["limit"] == 4
    # The sample is the newest lines.
    got = get(server, "detected_field/n/values", query='{app="l"}', line_limit=2)
    assert got["values"] == ["48", "49"]
    for params in ({"query": "{"}, {"query": 'rate({a="b"}[1m])'}, {"query": "{}", "line_limit": 0},
                   {"query": "{}", "line_limit": 100000}, {"query": "{}", "limit": "x"}):
        answer = server.get("/loki/api/v1/detected_fields", params)
        assert answer.status == 400 and answer.headers["Content-Type"].startswith("text/plain"), params


def test_after_a_filter_and_over_parts(server):
    now = time.time_ns() - 60 * S
    server.push({"app": "l"}, [(now + i, f"user=u{i} kind={'a' if i % 2 else 'b'}") for i in range(10)])
    server.call("POST", "/-/flush", b"")
    got = get(server, "detected_field/user/values", query='{app="l"} |= "kind=a"')
    assert got["values"] == ["u1", "u3", "u5", "u7", "u9"]
