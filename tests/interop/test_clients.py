# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients of others feed the server."""
import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

import sawlog


def test_pino_loki(npm, server):
    r = npm("pino.mjs", server.url, 50)
    assert r.returncode == 0, r.stderr
    entries = sawlog.wait_for("50 lines", lambda: (lambda e: e if len(e) == 50 else None)(
        server.entries('{app="pino"}')))
    messages = [json.loads(line)["msg"] for _, line, _ in entries]
    assert sorted(messages) == sorted(f"message {i}" for i in range(50))
    assert {e[2]["detected_level"] for e in entries} == {"info", "error"}


@pytest.mark.parametrize("form", ["json", "protobuf"])
def test_winston_loki(npm, server, form):
    """Both of its forms: JSON, and protobuf in a snappy block."""
    r = npm("winston.mjs", server.url, 200, form)
    assert r.returncode == 0, r.stderr
    query = f'{{app="winston", form="{form}"}}'
    entries = sawlog.wait_for("200 lines", lambda: (lambda e: e if len(e) == 200 else None)(
        server.entries(query, tenant="winston")))
    assert server.metric("sawlog_http_requests_total", route="/loki/api/v1/push", status="204") > 0
    assert sorted(json.loads(line)["message"] for _, line, _ in entries) == \
        sorted(f'message {i} ünïcode "quoted"' for i in range(200))
    assert {(e[2]["level"], e[2]["part"]) for e in entries} == {
        ("error", "even"), ("warn", "odd"), ("info", "even"), ("debug", "odd")}


def test_urllib(server):
    now = time.time_ns()
    body = json.dumps({"streams": [{"stream": {"app": "urllib"}, "values": [[str(now), "from urllib"]]}]})
    request = urllib.request.Request(f"{server.url}/loki/api/v1/push", body.encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204
    query = urllib.parse.urlencode({"query": '{app="urllib"}'})
    with urllib.request.urlopen(f"{server.url}/loki/api/v1/query_range?{query}") as answer:
        assert json.load(answer)["data"]["result"][0]["values"] == [[str(now), "from urllib"]]


def test_logger_into_a_file(nodes, server):
    """logger(1) sends to a socket and copies to stderr: the file that takes the copy is followed."""
    log = nodes.folder / "messages.log"
    log.touch()
    nodes.forwarder(server, log)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dev_log:
        dev_log.bind(str(nodes.folder / "log"))
        for i in range(5):
            with log.open("ab") as f:
                subprocess.run(["logger", "-s", "-u", nodes.folder / "log", "-t", "unit", f"hello {i}"],
                               stderr=f, check=True)
    got = sawlog.wait_for("5 lines", lambda: (lambda x: x if len(x) == 5 else None)(
        server.lines('{app="messages"} |= "hello"')))
    assert [line.rsplit("hello ", 1)[1] for line in got] == [str(i) for i in range(5)]
