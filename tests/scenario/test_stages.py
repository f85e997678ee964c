# SPDX-License-Identifier: Apache-2.0
"""Stages over the wire: categories of labels, tails, selection on any field, reshapes and their pages, files."""
import gzip
import json
import time

import sawlog


def fill(server, n=40):
    now = time.time_ns() - 60 * 10**9
    lines = [(now + i, json.dumps({"n": i, "status": 500 if i % 4 == 0 else 200, "path": f"/{i % 3}"}))
             for i in range(n)]
    server.push({"app": "web"}, lines)
    return now


def query(server, logql, headers=None, **params):
    r = server.get("/loki/api/v1/query_range", {"query": logql, **params}, headers)
    assert r.status == 200, r.body
    return json.loads(r.body)["data"]


def test_parsed_labels_merge_into_the_stream(server):
    fill(server)
    data = query(server, '{app="web"} | json | status = 500', limit=3)
    assert len(data["result"]) == 3  # each n is a stream of its own
    for stream in data["result"]:
        assert stream["stream"]["status"] == "500" and stream["stream"]["app"] == "web"
        assert len(stream["values"][0]) == 2
    data = query(server, '{app="web"} | json | status = 500 | keep status, app', limit=100)
    assert len(data["result"]) == 1 and len(data["result"][0]["values"]) == 10


def test_categories(server):
    fill(server)
    data = query(server, '{app="web"} | json | status = 500', limit=3,
                 headers={"X-Loki-Response-Encoding-Flags": "categorize-labels"})
    assert data["encodingFlags"] == ["categorize-labels"]
    assert len(data["result"]) == 1
    stream = data["result"][0]
    assert "status" not in stream["stream"] and stream["stream"]["app"] == "web"
    for _, line, extra in stream["values"]:
        assert extra["parsed"]["n"] == str(json.loads(line)["n"])
        assert extra["parsed"]["status"] == "500"
        assert extra["structuredMetadata"]["detected_level"]


def test_a_tail_runs_all_stages(server):
    fill(server, 8)
    tail = server.tail('{app="web"} | json | status = 500 | line_format "{{.path}} {{.n}}"', limit=10)
    assert [e[1] for e in tail.entries(2)] == ["/0 0", "/1 4"]
    server.push({"app": "web"}, ['{"n":9,"status":200,"path":"/x"}', '{"n":10,"status":500,"path":"/y"}'])
    assert [e[1] for e in tail.entries(1)] == ["/y 10"]
    tail.close()


def test_a_tail_needs_no_end(server):
    r = server.get("/loki/api/v1/tail", {"query": '{app="web"} | uniq'})
    assert r.status == 400 and b"tail" in r.body


def test_any_field_selects(server):
    now = time.time_ns() - 10**9
    body = {"streams": [{"stream": {"app": "a"}, "values": [
        [str(now), "one", {"trace": "t1"}], [str(now + 1), "two", {"trace": "t2"}], [str(now + 2), "three"]]}]}
    server.call("POST", "/loki/api/v1/push", json.dumps(body).encode(), {"Content-Type": "application/json"})
    server.call("POST", "/-/flush", b"")

    def lines(logql, **params):
        return sorted(v[1] for s in query(server, logql, **params)["result"] for v in s["values"])

    assert lines('{trace="t1"}') == ["one"]
    assert lines('{trace!="t1"}') == ["three", "two"]
    assert lines('{app="a", trace=~"t.*"} |= "w"') == ["two"]
    # Strict, the name is of streams alone.
    assert lines('{app="a", trace="t1"}', strict="true") == []
    assert lines('{app="a", trace!="t1"}', strict="true") == ["one", "three", "two"]


def test_reshapes_and_their_pages(server):
    fill(server)

    def cli(*args):
        r = sawlog.run("query", *args, "--addr", server.url, "-o", "jsonl")
        assert r.returncode == 0, r.stderr
        return [json.loads(line) for line in r.stdout.splitlines()]

    top = cli('{app="web"} | json | top 2 by (status)')
    assert [(x["labels"]["status"], x["labels"]["count"]) for x in top] == [("200", "30"), ("500", "10")]
    assert len(cli('{app="web"} | json | uniq by (path)')) == 3
    order = [int(x["labels"]["n"]) for x in cli('{app="web"} | json | sort by (n)')]
    assert order == list(range(40))
    seen, cursor = [], ""
    while True:
        data = query(server, '{app="web"} | json | sort by (n) desc', limit=7, cursor=cursor)
        seen += [int(s["stream"]["n"]) for s in data["result"]]
        cursor = data["sawlog"].get("next", "")
        if not cursor:
            break
    assert sorted(seen) == list(range(40))
    around = cli('{app="web"} |= "\\"n\\": 20," | context -B 1 -A 2', "--forward")
    assert [json.loads(x["line"])["n"] for x in around] == [19, 20, 21, 22]


def test_explain_tells_what_parsers_take(server):
    fill(server)
    r = sawlog.run("query", "--explain", '{app="web"} | json | status = 500 | top 3', "--addr", server.url)
    text = r.stdout.decode()
    assert "fields: json takes status, and of the rows that stay all fields" in text
    assert "at last: top" in text


def test_files(tmp_path):
    plain, packed = tmp_path / "a.log", tmp_path / "b.log.gz"
    plain.write_text("".join(f"2026-08-21T10:00:{i:02}Z level={'error' if i % 3 == 0 else 'info'} n={i}\n"
                             for i in range(30)))
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    def run(*args, stdin=None):
        r = sawlog.run("query", *args, stdin=stdin)
        assert r.returncode == 0, r.stderr
        return r.stdout.decode().splitlines()

    got = run('{} | logfmt | n > 27', str(plain), str(packed), "-o", "jsonl")
    assert [json.loads(x)["labels"]["n"] for x in got] == ["28", "29"] * 2
    got = run('{filename=~".*gz"} | logfmt', str(plain), str(packed), "-n", "2", "-o", "jsonl")
    assert [json.loads(x)["labels"]["n"] for x in got] == ["29", "28"]
    got = run('sum by (level) (count_over_time({} | logfmt [1m]))', "--instant", "--stdin", "-o", "jsonl",
              stdin=packed.read_bytes())
    assert {json.loads(x)["metric"]["level"]: json.loads(x)["value"][1] for x in got} == \
        {"error": "10", "info": "20"}
