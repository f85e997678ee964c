# SPDX-License-Identifier: Apache-2.0
"""How a query was answered, and that it was answered that way."""
import re
import time

import sawlog


def fill(server, n=5000):
    now = time.time_ns() - 60 * 10**9
    for app in ("a", "b"):
        server.push({"app": app}, [(now + i, f"{'ERROR' if i % 50 == 0 else 'INFO'} request {i} of {app}")
                                   for i in range(n)])
    assert server.call("POST", "/-/flush", b"").status == 200


def explain(server, query, *args):
    r = sawlog.run("query", "--explain", query, *args, "--addr", server.url)
    assert r.returncode == 0, r.stderr
    return dict(line.split(": ", 1) for line in r.stdout.decode().splitlines())


def number(text, word):
    return int(re.search(rf"([\d,]+) {word}", text).group(1).replace(",", ""))


def test_filters_are_the_stores(server):
    fill(server)
    got = explain(server, '{app="a"} |= "ERROR" != "request 0 "')
    assert got["query"] == '{app="a"} |= "ERROR" != "request 0 "'
    assert got["in the store"] == 'time, streams, |= "ERROR", != "request 0 "'
    assert "nothing" in got["row by row"]
    assert number(got["rows"], "line") == 99  # those of the answer
    for key in ("window", "blocks", "read", "time"):
        assert key in got, got


def test_counts_read_nothing(server):
    fill(server)
    got = explain(server, 'sum by (detected_level) (count_over_time({app=~".+"}[1h]))', "--instant")
    assert number(got["blocks"], "answered by their counts") >= 1
    assert number(got["rows"], "line") == 0
    assert number(got["rows"], "looked at") == 0


def test_a_limit_puts_few_lines_together(server):
    fill(server)
    got = explain(server, '{app=~".+"}', "-n", "10")
    assert number(got["rows"], "line") <= 20


def test_a_text_that_no_template_has(server):
    fill(server)
    got = explain(server, '{} |= "nowhere at all"')
    assert number(got["blocks"], "ruled out by the filters") >= 1
    assert number(got["rows"], "line") == 0


def test_numbers_and_metrics(server):
    assert "nothing is read" in "".join(explain_lines(server, "vector(1)", "--instant"))
    fill(server, 10)
    assert explain_lines(server, 'rate({app="a"}[1m])')[0] == 'query: rate({app="a"}[1m])'
    answer = server.query('{app="a"}')
    assert "explain" not in answer["data"]["sawlog"]


def explain_lines(server, query, *args):
    r = sawlog.run("query", "--explain", query, *args, "--addr", server.url)
    assert r.returncode == 0, r.stderr
    return r.stdout.decode().splitlines()
