# SPDX-License-Identifier: Apache-2.0
"""Loki push in full: protobuf as Loki's clients send it, and what is refused of it."""
import gzip
import http.client
import json
import random
import time
import zlib

import pytest

T = 1_700_000_000_000_000_000
PROTOBUF = {"Content-Type": "application/x-protobuf"}


# -- protobuf and snappy, from their documents

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


def entry(ns, line, metadata=None):
    seconds, nanos = divmod(ns, 1_000_000_000)
    data = message(1, number(1, seconds) + number(2, nanos)) + message(2, line)
    for name, value in (metadata or {}).items():
        data += message(3, message(1, name) + message(2, value))
    return data


def stream(labels, entries):
    return message(1, labels) + b"".join(message(2, e) for e in entries) + number(3, hash(labels))


def push_request(*streams):
    return b"".join(message(1, s) for s in streams)


def snappy(data):
    """A block of literals, with a copy where bytes repeat those just before them."""
    out, at = bytearray(varint(len(data))), 0
    while at < len(data):
        n = 0
        while at >= 4 and n < 64 and at + n < len(data) and data[at + n] == data[at + n - 4]:
            n += 1
        if n >= 4:
            out += bytes([(n - 1) << 2 | 2, 4, 0])
        else:
            n = min(60, len(data) - at, 1)
            out += bytes([(n - 1) << 2]) + data[at:at + n]
        at += n
    return bytes(out)


def post(server, body, headers=PROTOBUF):
    return server.call("POST", "/loki/api/v1/push", body, headers)


def test_protobuf(server):
    body = push_request(
        stream('{app="proto", env="test"}', [
            entry(T, "first"), entry(T + 1, "ünïcödé ✓\n", {"trace": "abc", "user.id": "7"}), entry(T + 2, "")]),
        stream('{app="other"}', [entry(T, "x" * 5000)]))
    answer = post(server, snappy(body))
    assert (answer.status, answer.body) == (204, b"")
    got = server.entries('{app="proto"}')
    assert [(ns, line) for ns, line, _ in got] == [(T, "first"), (T + 1, "ünïcödé ✓\n"), (T + 2, "")]
    assert got[1][2]["trace"] == "abc" and got[1][2]["user.id"] == "7"
    assert got[0][2]["env"] == "test" and got[0][2]["service_name"] == "proto"
    assert server.lines('{app="other"}') == ["x" * 5000]


@pytest.mark.parametrize("headers,pack", [
    ({"Content-Type": "application/x-protobuf"}, snappy),
    ({"Content-Type": "application/x-protobuf; proto=logproto.PushRequest; charset=utf-8"}, snappy),
    ({"Content-Type": "application/vnd.google.protobuf"}, snappy),
    ({"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}, snappy),
    ({"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}, gzip.compress),
    ({"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}, lambda b: gzip.compress(snappy(b))),
    ({"Content-Type": "application/x-protobuf", "Content-Encoding": "deflate"}, zlib.compress),
    ({"Content-Type": "application/x-protobuf"}, bytes),
    ({"Content-Type": "application/octet-stream"}, snappy),
    ({"Content-Type": "text/plain"}, snappy),
])
def test_ways_to_send_protobuf(server, headers, pack):
    answer = post(server, pack(push_request(stream('{app="way"}', [entry(T, "by this way")]))), headers)
    assert answer.status == 204, answer.text
    assert server.lines('{app="way"}') == ["by this way"]


@pytest.mark.parametrize("headers,pack", [
    ({"Content-Type": "application/json"}, bytes),
    ({"Content-Type": "Application/JSON; charset=utf-8"}, bytes),
    ({"Content-Type": "text/plain"}, bytes),
    ({"Content-Type": "text/plain"}, lambda b: b" \n" + json.dumps(json.loads(b), indent=1).encode()),
    ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, gzip.compress),
    ({"Content-Type": "application/json", "Content-Encoding": "deflate"}, zlib.compress),
    ({"Content-Type": "application/json", "Content-Encoding": "snappy"}, snappy),
    ({"Content-Type": "application/json", "Content-Encoding": "identity"}, bytes),
])
def test_ways_to_send_json(server, headers, pack):
    body = json.dumps({"streams": [{"stream": {"app": "way"}, "values": [[str(T), "by this way"]]}]})
    answer = post(server, pack(body.encode()), headers)
    assert answer.status == 204, answer.text
    assert server.lines('{app="way"}') == ["by this way"]


def test_no_content_type_and_chunks(server):
    """The first bytes tell what it is; a body may come in chunks of any size."""
    proto = snappy(push_request(stream('{app="chunks"}', [entry(T + i, f"line {i}") for i in range(50)])))
    text = json.dumps({"streams": [{"stream": {"app": "chunks"}, "values": [
        [str(T + 50 + i), f"line {50 + i}"] for i in range(50)]}]}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for body in (proto, text):
        connection.putrequest("POST", "/loki/api/v1/push")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        at = 0
        while at < len(body):
            part = body[at:at + random.choice((1, 2, 7, 100, 1000))]
            connection.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            at += len(part)
        connection.send(b"0\r\n\r\n")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (204, b"")
    assert server.lines('{app="chunks"}') == [f"line {i}" for i in range(100)]


def test_json_and_protobuf_give_the_same(server):
    values = [(T + i, f"GET /{i} level={level}", {"user": str(i)}) for i, level in
              enumerate(["info", "error", "warn"] * 20)]
    assert server.push({"app": "same", "by": "json"}, values).status == 204
    body = push_request(stream('{by="proto", app="same"}', [entry(*v) for v in values]))
    assert post(server, snappy(body)).status == 204

    def of(by):
        return [(ns, line, {k: v for k, v in labels.items() if k != "by"})
                for ns, line, labels in server.entries(f'{{app="same", by="{by}"}}')]

    assert of("json") == of("proto") and len(of("proto")) == 60


def test_refused_entries_cost_themselves(server):
    body = push_request(
        stream('{app="good"}', [entry(T, "kept"), message(2, "no time"), entry(T + 1, "kept too")]),
        stream("{}", [entry(T, "x"), entry(T, "y")]),
        stream("{a=b}", [entry(T, "x")]))
    answer = post(server, snappy(body))
    assert answer.status == 400
    assert answer.text == (
        "4 of 6 entries refused, the others are stored; the first: entry for stream "
        "'{app=\"good\", service_name=\"good\"}' has no timestamp (streams[0].entries[1])\n")
    assert server.lines('{app="good"}') == ["kept", "kept too"]
    assert server.metric("sawlog_rejected_records_total", input="loki", reason="bad_labels") == 3
    assert server.metric("sawlog_rejected_records_total", input="loki", reason="bad_timestamp") == 1
    for refused, sentence in (
            (stream("", [entry(T, "x")]), "error at least one label pair is required per stream (streams[0])"),
            (stream("{a=b}", [entry(T, "x")]), "error parsing labels '{a=b}' with error: column 4: expected a "
                                               "quoted value, got 'b' (streams[0])")):
        assert post(server, snappy(push_request(refused))).text == \
            f"1 of 1 entries refused; the first: {sentence}\n"


def test_long_lines_are_cut(server):
    line = "0123456789" * 30_000
    assert post(server, snappy(push_request(stream('{app="long"}', [entry(T, line)])))).status == 204
    _, got, labels = server.entries('{app="long"}')[0]
    assert got == line[:256 << 10] and labels["truncated_from"] == "300000"
    assert server.metric("sawlog_cut_records_total", input="loki") == 1


ONE = push_request(stream('{a="b"}', [entry(T, "x")]))


@pytest.mark.parametrize("body,status,sentence", [
    (lambda: b"", 400, "empty"),
    (lambda: b"\xff\xff\xff\xff\x0f\x00", 400, "cannot hold the 4294967295 they claim"),
    (lambda: b"\x80\x80\x80\x80\x80\x80", 400, "no block of it"),
    (lambda: snappy(b"some text that is no protobuf"), 400, "no logproto.PushRequest"),
    (lambda: snappy(ONE)[:-1], 400, "damaged"),
    (lambda: snappy(ONE[:-1]), 400, "no logproto.PushRequest"),
    (lambda: snappy(ONE + b"\x0b\x0c"), 400, "no logproto.PushRequest"),
    (lambda: snappy(push_request(stream('{a="b"}', [entry(T, "a" * 34_000_000)]))), 413, "is over 33554432"),
], ids=["empty", "a claim of 4 GiB", "no length", "text", "a cut block", "a cut message", "a group", "too large"])
def test_bodies_without_sense(server, body, status, sentence):
    answer = post(server, body())
    assert (answer.status, sentence in answer.text) == (status, True), answer.text
    assert server.lines("{}") == []


def test_small_entries_do_not_pass_the_ceiling(nodes):
    """A million entries of 6 bytes become records of 40: that is charged before they are made."""
    server = nodes.server(config="memory: 64MiB\n")
    tiny = message(2, message(1, b"") + message(2, b""))
    body = push_request(message(1, '{app="tiny"}') + tiny * 1_200_000)
    before = server.rss_anon()
    answer = post(server, snappy(body))
    assert answer.status in (204, 400, 413, 429), answer.text
    assert max(server.rss_anon() - before, 0) < 64 << 20
    assert post(server, snappy(push_request(stream('{app="after"}', [entry(T, "fine")])))).status == 204


def test_unknown_encoding(server):
    answer = post(server, b"x", {**PROTOBUF, "Content-Encoding": "br"})
    assert answer.status == 415 and "send gzip, deflate, snappy or none" in answer.text


def test_tenant(server):
    body = snappy(push_request(stream('{app="t"}', [entry(time.time_ns(), "of one")])))
    assert post(server, body, {**PROTOBUF, "X-Scope-OrgID": "one"}).status == 204
    assert server.lines('{app="t"}') == [] and server.lines('{app="t"}', tenant="one") == ["of one"]
