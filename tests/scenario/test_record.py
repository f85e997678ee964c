# SPDX-License-Identifier: Apache-2.0
"""A record's sequence is its address."""
import json
import time

import sawlog


def seqs(server, query, **more):
    data = server.query(query, sequence="true", **more)["data"]
    found = [(int(ns), v["seq"], line) for s in data["result"] for ns, line, v in s["values"]]
    return sorted(found)


def record(server, seq, tenant=None, **params):
    return server.get(f"/api/v1/record/{seq}", params, {"X-Scope-OrgID": tenant} if tenant else None)


def test_the_same_address_in_head_and_part(server):
    now = time.time_ns()
    for i in range(20):
        server.push({"app": "a"}, [(now + i * 1000, f"a line {i}", {"trace": f"t{i}"})])
        server.push({"app": "b"}, [(now + i * 1000, f"b line {i}")])
    entries = seqs(server, '{app="a"}')
    for _ in range(2):
        for ns, seq, line in entries:
            data = record(server, seq).json()["data"]
            assert data["record"]["line"] == line and int(data["record"]["time"]) == ns
            assert data["record"]["seq"] == seq and data["record"]["labels"]["app"] == "a"
            assert data["record"]["metadata"]["trace"] == "t" + line.split()[-1]
            assert "before" not in data
        around = record(server, entries[10][1], context=3).json()["data"]
        assert [r["line"] for r in around["before"]] == ["a line 7", "a line 8", "a line 9"]
        assert [r["line"] for r in around["after"]] == ["a line 11", "a line 12", "a line 13"]
        first = record(server, entries[0][1], context=2).json()["data"]
        assert first["before"] == [] and len(first["after"]) == 2
        assert server.call("POST", "/-/flush", b"").status == 200


def test_gone_or_of_another(server):
    server.push({"app": "a"}, ["mine"], tenant="one")
    seq = seqs(server, "{}", tenant="one")[0][1]
    assert record(server, seq, tenant="one").status == 200
    missing = record(server, seq, tenant="two")
    assert missing.status == 404 and f"there is no record {seq}" in missing.text
    assert record(server, 10**15).status == 404
    assert record(server, 0).status == 404
    assert record(server, "x").status == 400
    assert record(server, seq, context=100000).status == 400


def test_command(server):
    now = time.time_ns()
    server.push({"app": "a"}, [(now + i, f"line {i}") for i in range(5)])
    seq = seqs(server, "{}")[2][1]
    run = lambda *args: sawlog.run("query", *args, "--addr", server.url)  # noqa: E731
    assert run("--record", seq, "-o", "raw").stdout == b"line 2\n"
    r = run("--record", seq, "--context", "1", "-o", "jsonl")
    assert [json.loads(x)["line"] for x in r.stdout.splitlines()] == ["line 1", "line 2", "line 3"]
    r = run("--record", 10**12)
    assert r.returncode == 1 and b"there is no record 1000000000000" in r.stderr and r.stdout == b""
    assert run("--record", seq, "{}").returncode == 2
    assert run("--context", 3, "{}").returncode == 2
    assert run().returncode == 2


def test_the_page_links_to_records(server):
    script = server.get("/page.js").text
    assert "#record=" in script and "/api/v1/record/" in script
