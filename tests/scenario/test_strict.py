# SPDX-License-Identifier: Apache-2.0
"""Strict mode refuses what Loki refuses; `sawlog fmt` needs no server."""
import time

import pytest

import sawlog

BEYOND = ['{}', '{app=~".*"}', '{app="a"} | uniq', '{app="a"} | top 3 by (x)', '{app="a"} | sort by (x)',
          '{app="a"} | context -C 1', '{app="a"} | sample 2', '{app="a"} | logfmt | unroll x']
WITHIN = ['{app="a"}', '{app="a"} | logfmt | uniq != "x"', '{app="a"} |= "x" | json | top > 5 or sort = "y"']


def push(server):
    now = time.time_ns()
    server.push({"app": "a"}, [(now - 2000, "x=1"), (now - 1000, "x=2")])


def status(server, logql, **more):
    return server.get("/loki/api/v1/query_range", {"query": logql, "since": "1h", **more})


def test_asked_by_a_request(server):
    push(server)
    for logql in BEYOND + WITHIN:
        assert status(server, logql).status == 200, logql
    for logql in BEYOND:
        answer = status(server, logql, strict="true")
        assert answer.status == 400, logql
        assert answer.text.startswith("parse error"), answer.text
    for logql in WITHIN:
        assert status(server, logql, strict="true").status == 200, logql
    counted = {"query": "count_over_time({}[1h])", "strict": "true"}
    assert server.get("/loki/api/v1/query", counted).status == 400
    routes = ("/loki/api/v1/format_query", "/loki/api/v1/patterns", "/loki/api/v1/index/stats", "/api/prom/query")
    server.tail('{app="a"}', strict="true").close()
    with pytest.raises(AssertionError, match="parse error"):
        server.tail("{}", strict="true")
    for path in routes:
        assert server.get(path, {"query": '{app="a"}', "strict": "true"}).status == 200, path
        assert server.get(path, {"query": "{}"}).status == 200, path
        assert server.get(path, {"query": "{}", "strict": "true"}).status == 400, path


def test_set_in_the_config(nodes):
    server = nodes.server(config="logql: {strict: true}\n")
    push(server)
    for logql in BEYOND:
        answer = status(server, logql)
        assert answer.status == 400 and answer.text.startswith("parse error"), logql
    for logql in WITHIN:
        assert status(server, logql).status == 200, logql
    # Listing everything is not a query.
    assert server.get("/loki/api/v1/labels").json()["data"]
    assert server.get("/loki/api/v1/series", {"match[]": "{}"}).json()["data"]
    # A reload counts for the next query.
    server.config.write_text("logql: {strict: false}\n")
    assert server.call("POST", "/-/reload", b"").status == 200
    assert status(server, "{}").status == 200


def test_fmt():
    r = sawlog.run("fmt", '{app="a"}|json|x>=5')
    assert (r.returncode, r.stdout) == (0, b'{app="a"} | json | x>=5\n'), r.stderr
    long = ('sum by (app) (rate({app=~".+", environment="production"} | json | unwrap bytes(size) '
            '| __error__="" [5m])) / 60')
    once = sawlog.run("fmt", stdin=long.encode())
    assert once.returncode == 0 and once.stdout.count(b"\n") > 3, once.stdout
    assert sawlog.run("fmt", "-", stdin=once.stdout).stdout == once.stdout
    assert sawlog.run("fmt", "-1", stdin=once.stdout).stdout.count(b"\n") == 1


def test_fmt_tells_the_place():
    r = sawlog.run("fmt", stdin=b'{app="a"}\n| json\n| x >= "y"')
    assert r.returncode == 2 and not r.stdout
    assert b"line 3, col 8: syntax error: unexpected STRING" in r.stderr, r.stderr
    assert r.stderr.endswith(b'| x >= "y"\n       ^\n'), r.stderr
    assert sawlog.run("fmt", "{}").returncode == 0
    assert sawlog.run("fmt", "--strict", "{}").returncode == 2
    assert sawlog.run("fmt", "", stdin=b"").returncode == 2
