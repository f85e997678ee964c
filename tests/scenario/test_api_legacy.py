# SPDX-License-Identifier: Apache-2.0
"""The endpoints of Loki's first versions, which old shippers and scripts still ask."""
import json
import time

S = 10**9


def test_push_query_labels_series(server):
    now = time.time_ns() // S * S - 60 * S
    body = json.dumps({"streams": [{"labels": '{app="shop", host="a"}', "entries": [
        {"ts": time.strftime("%Y-%m-%dT%H:%M:%S.5Z", time.gmtime(now // S)), "line": "hello"},
        {"ts": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now // S + 1)), "line": "level=error bye"}]}]})
    answer = server.call("POST", "/api/prom/push", body.encode(), {"Content-Type": "application/json"})
    assert answer.status == 204, answer.text
    got = server.get("/api/prom/query", {"query": '{app="shop"}', "direction": "forward"}).json()["streams"]
    assert {s["labels"]: [e["line"] for e in s["entries"]] for s in got} == {
        '{app="shop", detected_level="unknown", host="a", service_name="shop"}': ["hello"],
        '{app="shop", detected_level="error", host="a", service_name="shop"}': ["level=error bye"]}
    assert got[0]["entries"][0]["ts"] == time.strftime("%Y-%m-%dT%H:%M:%S.5Z", time.gmtime(now // S))
    got = server.get("/api/prom/query", {"query": '{app="shop"}', "regexp": "b[y]e"}).json()["streams"]
    assert [e["line"] for s in got for e in s["entries"]] == ["level=error bye"]
    assert server.get("/api/prom/query", {"query": 'rate({app="shop"}[1m])'}).status == 400
    assert server.get("/api/prom/label").json() == {"values": ["app", "host", "service_name"]}
    assert server.get("/api/prom/label/app/values").json() == {"values": ["shop"]}
    assert server.get("/api/prom/series", {"match[]": '{app="shop"}'}).json()["data"] == [
        {"app": "shop", "host": "a", "service_name": "shop"}]
