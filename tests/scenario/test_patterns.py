# SPDX-License-Identifier: Apache-2.0
"""Kinds of lines: how many of each, and what changed."""
import json
import time

import sawlog

HOUR = 3600 * 10**9


def cli(server, *args):
    return sawlog.run(*args, "--addr", server.url)


def fill(server, flush):
    """Two apps, four kinds of lines, a line that has no kind; the older half in a part."""
    now = time.time_ns()
    for half in range(2):
        base = now - (30 - 10 * half) * 60 * 10**9
        server.push({"app": "shop"}, [(base + i, f"user {i} bought {i * 7} things") for i in range(100)])
        server.push({"app": "shop"}, [(base + i, f"ERROR payment {i} refused") for i in range(10)])
        server.push({"app": "mail"}, [(base + i, f"sent message {i:08x}{i:08x} in {i} ms") for i in range(20)])
        if flush and half == 0:
            assert server.call("POST", "/-/flush", b"").status == 200
    server.push({"app": "mail"}, [(now - 60 * 10**9, "x" * 40000)])
    return now


def patterns(server, query, **params):
    answer = server.get("/loki/api/v1/patterns", {"query": query, "since": "1h", **params})
    assert answer.status == 200, answer.text
    return answer.json()


def counts(answer):
    return {p["pattern"]: p["count"] for p in answer["data"]}


def check(server):
    got = patterns(server, "{}")
    assert counts(got) == {"user <_> bought <_> things": 200, "ERROR payment <_> refused": 20,
                           "sent message <_> in <_> ms": 40}
    assert got["sawlog"]["lines"] == 261 and got["sawlog"]["other"] == 1
    assert [p["count"] for p in got["data"]] == [200, 40, 20]
    for p in got["data"]:
        assert sum(n for _, n in p["samples"]) == p["count"]
        assert len(p["samples"]) == 2
    assert {p["pattern"]: p.get("level") for p in got["data"]}["ERROR payment <_> refused"] == "error"
    assert counts(patterns(server, '{app="shop"} |= "refused"')) == {"ERROR payment <_> refused": 20}
    assert counts(patterns(server, '{app="shop"} != "bought 7 "')) == {
        "user <_> bought <_> things": 198, "ERROR payment <_> refused": 20}
    cut = patterns(server, "{}", limit=1, samples="false")
    assert len(cut["data"]) == 1 and cut["data"][0]["samples"] == []
    assert cut["sawlog"]["further"] == 60 and cut["sawlog"]["further_patterns"] == 2
    example = patterns(server, '{app="shop"}', example="true")["data"][0]["example"]
    assert example["line"] == "user 99 bought 693 things"


def test_counts_in_the_head(server):
    fill(server, flush=False)
    check(server)


def test_counts_in_parts_and_head(server):
    fill(server, flush=True)
    check(server)


def test_counts_in_parts(server):
    fill(server, flush=True)
    assert server.call("POST", "/-/flush", b"").status == 200
    check(server)


def test_refused(server):
    assert server.get("/loki/api/v1/patterns", {"query": "rate({}[1m])"}).status == 400
    assert server.get("/loki/api/v1/patterns", {"query": "{", "since": "1h"}).status == 400
    assert server.get("/loki/api/v1/patterns", {"query": "{}", "since": "1y", "step": "1s"}).status == 400


def test_command(server):
    fill(server, flush=True)
    r = cli(server, "patterns", '{app="shop"}', "--example")
    assert r.returncode == 0, r.stderr
    rows = r.stdout.decode().splitlines()
    assert rows[0].split() == ["LINES", "SHARE", "LEVEL", "PATTERN"]
    assert rows[1].split()[:2] == ["200", "90.9%"] and rows[1].endswith("user <_> bought <_> things")
    assert rows[2].strip() == "user 99 bought 693 things"
    assert "error" in rows[3]
    r = cli(server, "patterns", "-o", "jsonl", "-n", "1")
    assert [json.loads(x)["count"] for x in r.stdout.splitlines()] == [200]
    assert b"(other lines)" in cli(server, "patterns").stdout
    assert b"(2 further patterns)" in cli(server, "patterns", "-n", "1").stdout
    assert cli(server, "patterns", "{").returncode == 2


def test_diff(server):
    now = time.time_ns()
    before, after = now - 90 * 60 * 10**9, now - 30 * 60 * 10**9
    server.push({"app": "a"}, [(before + i, f"steady {i}") for i in range(50)])
    server.push({"app": "a"}, [(before + i, f"old thing {i}") for i in range(5)])
    server.push({"app": "a"}, [(before + i, f"grows {i}") for i in range(10)])
    assert server.call("POST", "/-/flush", b"").status == 200
    server.push({"app": "a"}, [(after + i, f"steady {i}") for i in range(52)])
    server.push({"app": "a"}, [(after + i, f"grows {i}") for i in range(100)])
    server.push({"app": "a"}, [(after + i, f"brand new {i}") for i in range(3)])
    server.push({"app": "b"}, [(after + i, f"steady {i}") for i in range(50)])
    data = server.get("/api/v1/diff", {"query": '{app="a"}', "since": "1h"}).json()["data"]
    assert [(p["change"], p["pattern"], p["before"], p["now"]) for p in data["patterns"]] == [
        ("new", "brand new <_>", 0, 3), ("vanished", "old thing <_>", 5, 0), ("changed", "grows <_>", 10, 100)]
    assert data["patterns"][2]["ratio"] == 10 and data["unchanged"] == 1
    assert (data["before"]["lines"], data["now"]["lines"]) == (65, 155)
    r = cli(server, "diff", '{app="a"}', "--since", "1h")
    assert r.returncode == 0, r.stderr
    rows = r.stdout.decode().splitlines()
    assert rows[0].split() == ["CHANGE", "BEFORE", "NOW", "LEVEL", "PATTERN"]
    assert rows[3].split() == ["x", "10", "10", "100", "unknown", "grows", "<_>"]
    assert b"1 new, 1 vanished, 1 changed, 1 as before" in r.stderr
    # Two selectors over the same time; the first is what was.
    r = cli(server, "diff", '{app="b"}', '{app="a"}', "-o", "jsonl")
    assert {json.loads(x)["pattern"] for x in r.stdout.splitlines()} == {"brand new <_>", "grows <_>"}
    r = cli(server, "diff", '{app="b"}', '{app="b"}', "--exit-status")
    assert r.returncode == 1, r.stderr
    # An earlier window of its own length: ratios are of rates.
    r = cli(server, "diff", '{app="a"}', "--since", "1h", "--before", "10h", "-o", "jsonl")
    grows = [json.loads(x) for x in r.stdout.splitlines() if b"grows" in x]
    assert grows[0]["ratio"] == 100
    r = cli(server, "diff", '{app="a"}', "--since", "1h", "--from2", "2h", "--to2", "1h", "-o", "jsonl")
    assert len(r.stdout.splitlines()) == 3
    assert cli(server, "diff", "--before", "1h", "--to2", "1h").returncode == 2
    assert server.get("/api/v1/diff", {"query": "{}", "before_start": "5", "before_end": "4"}).status == 400
