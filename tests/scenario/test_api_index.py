# SPDX-License-Identifier: Apache-2.0
"""Stats and volumes: exact, over the head, over parts, and over both."""
import time

import pytest

S = 10**9
APPS = {"shop": ("a", "team1"), "mail": ("b", "team1"), "disk": ("c", None)}


def fill(server, flush):
    """300 lines of three streams in ten minutes; the older half in a part where asked."""
    now = time.time_ns() // (60 * S) * 60 * S - 20 * 60 * S
    lines = []
    for app, (host, team) in APPS.items():
        labels = {"app": app, "host": host} | ({"team": team} if team else {})
        for i in range(100):
            level = "level=error " if i % 4 == 0 else "level=info "
            lines.append((labels, now + i * 6 * S, f"{level}{app} line {i} " + "x" * i))
    for half in (0, 1):
        for app in APPS:
            mine = [(t, line) for labels, t, line in lines
                    if labels["app"] == app and (t >= now + 300 * S) == bool(half)]
            labels = next(labels for labels, _, _ in lines if labels["app"] == app)
            assert server.push(labels, mine).status == 204
        if flush and not half:
            assert server.call("POST", "/-/flush", b"").status == 200
    return now, lines


def get(server, path, **params):
    answer = server.get(f"/loki/api/v1/index/{path}", params)
    assert answer.status == 200, answer.text
    return answer.json()


def size(lines, keep, start=None, end=None):
    return sum(len(line) for labels, t, line in lines
               if keep(labels, line) and (start is None or t >= start) and (end is None or t < end))


def vector(answer):
    assert answer["status"] == "success" and answer["data"]["resultType"] == "vector"
    return {tuple(sorted(x["metric"].items())): int(x["value"][1]) for x in answer["data"]["result"]}


@pytest.mark.parametrize("flush", [False, True])
def test_stats(server, flush):
    now, lines = fill(server, flush)
    window = {"start": now, "end": now + 600 * S}
    got = get(server, "stats", query='{app=~".+"}', **window)
    assert got["streams"] == 3 and got["entries"] == 300 and got["chunks"] >= 1
    assert got["bytes"] == size(lines, lambda *_: True)
    got = get(server, "stats", query='{app="shop"}', **window)
    assert (got["streams"], got["entries"]) == (1, 100)
    # Half open, to the nanosecond, inside of a block.
    got = get(server, "stats", query='{app="shop"}', start=now + 6 * S, end=now + 60 * S)
    assert got["entries"] == 9
    assert got["bytes"] == size(lines, lambda labels, _: labels["app"] == "shop", now + 6 * S, now + 60 * S)
    assert get(server, "stats", query='{app="none"}', **window)["streams"] == 0
    got = get(server, "stats", query='{app=~".+"} |= "line 7"', **window)
    assert got["entries"] == 33


@pytest.mark.parametrize("flush", [False, True])
def test_volume(server, flush):
    now, lines = fill(server, flush)
    window = {"start": now, "end": now + 600 * S}
    by_app = {(("app", a),): size(lines, lambda labels, _: labels["app"] == a) for a in APPS}  # noqa: B023
    assert vector(get(server, "volume", query='{app=~".+"}', **window)) == by_app
    answer = get(server, "volume", query='{app=~".+"}', **window)
    sizes = [int(x["value"][1]) for x in answer["data"]["result"]]
    assert sizes == sorted(sizes, reverse=True)
    assert answer["data"]["stats"]["summary"]["execTime"] > 0
    # By default the labels of the matchers, negative ones too.
    got = vector(get(server, "volume", query='{app=~".+", host!="c"}', **window))
    assert set(got) == {(("app", "mail"), ("host", "b")), (("app", "shop"), ("host", "a"))}
    # Streams without any of the labels are left out.
    got = vector(get(server, "volume", query='{app=~".+"}', targetLabels="team", **window))
    assert got == {(("team", "team1"),): size(lines, lambda labels, _: "team" in labels)}
    got = vector(get(server, "volume", query="{}", aggregateBy="labels", targetLabels="team,app", **window))
    assert got == {(("app", ""),): size(lines, lambda *_: True),
                   (("team", ""),): size(lines, lambda labels, _: "team" in labels)}
    got = vector(get(server, "volume", query="{}", targetLabels="detected_level", **window))
    assert got == {(("detected_level", w),): size(lines, lambda _, line: f"={w} " in line)  # noqa: B023
                   for w in ("error", "info")}
    assert len(vector(get(server, "volume", query="{}", limit=1, **window))) == 1


@pytest.mark.parametrize("flush", [False, True])
def test_volume_range(server, flush):
    now, lines = fill(server, flush)
    answer = get(server, "volume_range", query='{app="shop"}', start=now, end=now + 600 * S, step="60000ms")
    assert answer["data"]["resultType"] == "matrix"
    (series,) = answer["data"]["result"]
    assert series["metric"] == {"app": "shop"}
    assert series["values"] == [
        [(now + k * 60 * S) // S, str(size(lines, lambda labels, _: labels["app"] == "shop",
                                            now + k * 60 * S, now + (k + 1) * 60 * S))] for k in range(10)]
    answer = get(server, "volume_range", query="{}", start=now, end=now + 600 * S, step="300",
                 targetLabels="detected_level")
    assert {x["metric"]["detected_level"] for x in answer["data"]["result"]} == {"error", "info"}
    total = sum(int(v) for x in answer["data"]["result"] for _, v in x["values"])
    assert total == size(lines, lambda *_: True)


def test_counted_not_read(server):
    """In a part whose blocks lie inside of the window no row is looked at."""
    now, _ = fill(server, False)
    server.call("POST", "/-/flush", b"")
    stats = get(server, "volume", query="{}", start=now - S, end=now + 700 * S,
                targetLabels="detected_level")["data"]["stats"]["sawlog"]
    assert stats["rows"] == 0 and stats["unitsCounted"] >= 1 and stats["unitsRead"] == 0


def test_form_post_and_refusals(server):
    now, _ = fill(server, False)
    answer = server.call("POST", "/loki/api/v1/index/volume",
                         f"query=%7Bapp%3D%22shop%22%7D&start={now}&end={now + 600 * S}".encode(),
                         {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 200 and len(vector(answer.json())) == 1
    for path, params, word in [
            ("stats", {"query": "{app="}, "parse error"),
            ("stats", {"query": 'rate({app="a"}[1m])'}, "only label matchers"),
            ("stats", {"query": "{}", "start": 10, "end": 10}, "end timestamp"),
            ("volume", {"query": "{}", "limit": "-1"}, "limit"),
            ("volume", {"query": "{}", "targetLabels": "a b"}, "targetLabels"),
            ("volume_range", {"query": "{}", "step": "-1"}, "step"),
            ("volume_range", {"query": "{}", "step": "1ms", "since": "1h"}, "11,000 points")]:
        answer = server.get(f"/loki/api/v1/index/{path}", params)
        assert answer.status == 400 and word in answer.text, (path, params, answer.text)
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_several_tenants(server):
    """a|b reads both; each stream tells whose it is, and can be chosen by it."""
    now = time.time_ns() - 60 * S
    server.push({"app": "x"}, [(now, "one"), (now + 2, "three")], tenant="a")
    server.push({"app": "x"}, [(now + 1, "two")], tenant="b")
    server.push({"app": "x"}, [(now + 1, "hidden")], tenant="c")
    both = {"X-Scope-OrgID": "a|b"}
    ask = lambda path, **p: server.get("/loki/api/v1/" + path, p, both)  # noqa: E731
    got = ask("query_range", query='{app="x"}', direction="forward", since="1h").json()["data"]["result"]
    assert sorted((s["stream"]["__tenant_id__"], line) for s in got for _, line in s["values"]) == [
        ("a", "one"), ("a", "three"), ("b", "two")]
    got = ask("query_range", query='{app="x", __tenant_id__="b"}', since="1h").json()["data"]["result"]
    assert [line for s in got for _, line in s["values"]] == ["two"]
    got = ask("query_range", query='{app="x"}', since="1h", limit=2).json()["data"]["result"]
    assert {line for s in got for _, line in s["values"]} == {"two", "three"}
    assert "__tenant_id__" in ask("labels", since="1h").json()["data"]
    assert ask("label/__tenant_id__/values", since="1h").json()["data"] == ["a", "b"]
    assert {s["__tenant_id__"] for s in ask("series", since="1h").json()["data"]} == {"a", "b"}
    got = ask("query", query='sum by (__tenant_id__) (count_over_time({app="x"}[1h]))').json()["data"]["result"]
    assert {s["metric"]["__tenant_id__"]: s["value"][1] for s in got} == {"a": "2", "b": "1"}
    assert ask("index/stats", query="{}", since="1h").json()["entries"] == 3
    got = ask("patterns", query="{}", since="1h").json()
    assert got["sawlog"]["lines"] == 3
    assert server.get("/loki/api/v1/labels", headers={"X-Scope-OrgID": "a|b/c"}).status == 400
    assert server.get("/loki/api/v1/labels", headers={"X-Scope-OrgID": "|"}).status == 400
    assert server.push({"app": "x"}, ["no"], tenant="a|b").status == 400
