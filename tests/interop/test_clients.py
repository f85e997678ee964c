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


@pytest.mark.parametrize("form", ["proto", "json", "grpc"])
def test_opentelemetry(npm, nodes, form):
    """The exporters of OpenTelemetry's SDK, compressed: over HTTP protobuf and JSON, and over gRPC."""
    port = sawlog.free_port()
    server = nodes.server(config=f"inputs:\n  - otlp: {{listen: ['grpc://127.0.0.1:{port}']}}\n")
    sawlog.wait_for("it listens", lambda: "inputs running" in server.out)
    r = npm("otel.mjs", f"http://127.0.0.1:{port}" if form == "grpc" else server.url, 300, form)
    assert r.returncode == 0, r.stderr
    assert int(r.stdout) >= 3
    query = f'{{service_name="otel-{form}", service_namespace="shop"}}'
    entries = server.entries(query)
    assert len(entries) == 300
    labels = entries[0][2]
    assert labels.items() >= {"process_pid": "7", "scope_name": "checkout", "scope_version": "1.2.3", "http_status": "200",
                              "user_name": "x", "user_roles": '["a","b"]', "ok": "true", "rate": "0.5",
                              "severity_text": "INFO", "severity_number": "9", "detected_level": "info"}.items()
    lines = sorted(line for _, line, _ in entries if not line.startswith("{"))
    assert lines == sorted(f"order {i} ünïcode" for i in range(300) if i % 10 != 9)
    structured = [json.loads(line) for line in server.lines(query + ' |= "items" | detected_level="error"')]
    assert sorted(o["order"] for o in structured) == list(range(9, 300, 10))
    assert structured[0]["items"] == ["ü", 1.5, True, None]


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
