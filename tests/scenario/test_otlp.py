# SPDX-License-Identifier: Apache-2.0
"""OTLP over HTTP: logs as OpenTelemetry's exporters send them, and the answers they understand."""
import gzip
import json
import struct
import time

import pytest

T = 1_700_000_000_000_000_000
JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def number(field, n):
    return varint(field << 3) + varint(n)


def message(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def fixed64(field, n):
    return varint(field << 3 | 1) + struct.pack("<Q", n)


def attribute(field, key, text):
    return message(field, message(1, key) + message(2, message(1, text)))


def request(*records, service="svc"):
    resource = message(1, attribute(1, "service.name", service) + attribute(1, "os.type", "linux"))
    return message(1, resource + message(2, message(1, message(1, "lib")) + b"".join(message(2, r) for r in records)))


def record(ns, body, severity=0, text="", **attributes):
    return (fixed64(1, ns) + number(2, severity) + message(3, text) + message(5, message(1, body)) +
            b"".join(attribute(6, k, v) for k, v in attributes.items()))


def as_json(*bodies, service="svc", **members):
    return {"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeLogs": [{"logRecords": [{"timeUnixNano": str(T + i), "body": {"stringValue": b}, **members}
                                      for i, b in enumerate(bodies)]}]}]}


def post(server, body, headers, path="/v1/logs"):
    return server.call("POST", path, json.dumps(body).encode() if isinstance(body, dict) else body, headers)


def fields(data):
    """[(number, value)] of a message, for the answers."""
    found = []
    while data:
        tag, data = take(data)
        if tag & 7 == 0:
            value, data = take(data)
        else:
            n, data = take(data)
            value, data = data[:n], data[n:]
        found.append((tag >> 3, value))
    return found


def take(data):
    n = shift = 0
    for i, byte in enumerate(data):
        n |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return n, data[i + 1:]
    raise ValueError("cut")


@pytest.mark.parametrize("path", ["/v1/logs", "/otlp/v1/logs"])
def test_protobuf(server, path):
    body = request(record(T, "one", 17, "Error", http_status="500"), record(T + 1, "two"))
    for sent, headers in ((body, PROTOBUF), (gzip.compress(body), {**PROTOBUF, "Content-Encoding": "gzip"})):
        answer = post(server, sent, headers, path)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Type"] == "application/x-protobuf"
    entries = server.entries('{service_name="svc"}')
    assert [(ns, line) for ns, line, _ in entries] == [(T, "one")] * 2 + [(T + 1, "two")] * 2
    labels = entries[0][2]
    assert labels.items() >= {"os_type": "linux", "scope_name": "lib", "severity_text": "Error",
                              "severity_number": "17", "http_status": "500", "detected_level": "error"}.items()
    assert server.lines('{service_name="svc"} | detected_level="error"') == ["one", "one"]
    assert server.metric("sawlog_received_records_total", input="otlp") == 4


def test_json(server):
    answer = post(server, as_json("a", "b", severityNumber=13, traceId="5b8efff798038103d269b633813fc60c"), JSON)
    assert (answer.status, answer.json()) == (200, {})
    assert answer.headers["Content-Type"] == "application/json"
    entries = server.entries('{service_name="svc"}')
    assert [(ns, line) for ns, line, _ in entries] == [(T, "a"), (T + 1, "b")]
    assert entries[0][2]["trace_id"] == "5b8efff798038103d269b633813fc60c"
    assert entries[0][2]["detected_level"] == "warn"


def test_what_is_empty(server):
    """By the specification a request without records is a success."""
    assert post(server, b"", PROTOBUF).status == 200
    assert post(server, {}, JSON).json() == {}
    assert post(server, {"resourceLogs": []}, JSON).status == 200


def test_partial_success(server):
    """A record that is refused costs itself, and the client is told."""
    many = {"attributes": [{"key": f"k{i}", "value": {"intValue": i}} for i in range(101)]}
    body = as_json("good", "bad")
    body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][1].update(many)
    answer = post(server, body, JSON)
    assert answer.status == 200
    told = answer.json()["partialSuccess"]
    assert told["rejectedLogRecords"] == "1"
    assert "at most 100 labels" in told["errorMessage"] and "resourceLogs[0].logRecords[1]" in told["errorMessage"]
    late = request(record(T, "good too"), record((1 << 63) + 5, "\xff out of range"))
    answer = post(server, late, PROTOBUF)
    assert answer.status == 200
    [(field, partial)] = fields(answer.body)
    assert field == 1
    partial = dict(fields(partial))
    assert partial[1] == 1 and b"timestamp out of range" in partial[2]
    assert sorted(server.lines('{service_name="svc"}')) == ["good", "good too"]
    assert server.metric("sawlog_rejected_records_total", input="otlp", reason="over_limit") == 1
    assert server.metric("sawlog_rejected_records_total", input="otlp", reason="bad_timestamp") == 1


def test_failures(server):
    answer = post(server, b'{"resourceLogs":[1]}', JSON)
    assert answer.status == 400
    assert answer.json() == {"code": 3, "message": '"resourceLogs" must be a list of objects'}
    answer = post(server, b"hello", PROTOBUF)
    assert answer.status == 400
    status = dict(fields(answer.body))
    assert status[1] == 3 and b"ExportLogsServiceRequest" in status[2]
    assert post(server, b"{", JSON).status == 400
    assert post(server, b"x", {**PROTOBUF, "Content-Encoding": "br"}).status == 415
    assert post(server, b"x", {**PROTOBUF, "Content-Encoding": "gzip"}).status == 400
    assert server.call("GET", "/v1/logs").status == 405
    assert server.lines("{}") == []


def test_durable(server):
    """What was answered 200 is there after a crash."""
    for i in range(20):
        assert post(server, request(record(time.time_ns(), str(i))), PROTOBUF).status == 200
    server.kill()
    server.start()
    assert server.lines('{service_name="svc"}') == [str(i) for i in range(20)]
