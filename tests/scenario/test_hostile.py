# SPDX-License-Identifier: Apache-2.0
"""Hostile and clumsy clients: they cost themselves, never the process or another client."""
import gzip
import http.client
import socket
import struct
import threading
import time
import zlib

import sawlog

JSON = {"Content-Type": "application/json"}
EARLIEST, LATEST = str(-2**63), str(2**63 - 1)


def raw(server, data, seconds=5):
    """What the server sends to these bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as s:
        s.sendall(data)
        answer = b""
        while piece := s.recv(65536):
            answer += piece
        return answer


def together(fn, n):
    threads = [threading.Thread(target=fn, daemon=True) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def balanced(server):
    total = {w: server.metric(f"sawlog_{w}_records_total")
             for w in ("received", "committed", "rejected", "dropped", "deduplicated")}
    assert total.pop("received") == sum(total.values())


def stops_cleanly(server):
    """Under a sanitizer this is also where a leak shows."""
    began = time.monotonic()
    assert server.stop() == 0, server.err[-2000:]
    assert time.monotonic() - began < (20 if sawlog.SANITIZED else 10)


def test_the_ends_of_time(nodes):
    server = nodes.server()
    for path in ("query_range", "labels", "series", "label/app/values"):
        for range_ in ({"end": EARLIEST, "since": "1h"}, {"end": LATEST, "since": "-1h"},
                       {"start": EARLIEST, "end": LATEST}, {"start": EARLIEST, "end": LATEST, "step": "1y"}):
            a = server.get(f"/loki/api/v1/{path}", {"query": '{app="x"}', **range_})
            assert a.status in (200, 400), (path, range_, a.text)
    a = server.get("/loki/api/v1/query_range", {"query": 'count_over_time({app="x"}[290y] offset -290y)',
                                                "start": EARLIEST, "end": LATEST, "step": "1ns"})
    assert a.status == 400 and "resolution" in a.text
    times = [-2**63, -1, 0, 2**62, 2**63 - 2, 2**63 - 1]
    assert server.push({"app": "ends"}, [(t, str(t)) for t in times]).status == 204
    for _ in range(2):
        assert server.lines('{app="ends"}', start=EARLIEST, end=LATEST) == [str(t) for t in times]
        server.call("POST", "/-/flush", b"")
    stops_cleanly(server)


def test_more_parameters_than_fit(nodes):
    """libmicrohttpd hung on these and lost the request."""
    server = nodes.server()
    query = b"&".join([b"a=b"] * 5000)
    answer = raw(server, b"GET /loki/api/v1/labels?" + query + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and b"parameters" in answer, answer
    stops_cleanly(server)


PUSH = b"POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def held(server):
    return server.metrics()['sawlog_memory_held_bytes{account="memory"}']


def test_clients_that_leave_in_the_middle_of_a_body(nodes):
    """What their bodies were charged comes back at once, not when the connection times out."""
    server = nodes.server(config="memory: 16MiB\n")
    before = held(server)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(PUSH % 1_000_000 + b"x" * 500_000)
    sawlog.wait_for("their memory is free", lambda: held(server) == before, 5)
    assert server.push({"app": "x"}, ["fine"]).status == 204
    stops_cleanly(server)


def test_clients_that_leave_before_the_answer(nodes):
    """A connection reset while its push is committed once kept the server from stopping."""
    server = nodes.server()
    line = "y" * 1000
    body = ('{"streams":[{"stream":{"app":"r"},"values":[%s]}]}' % ",".join([f'["1","{line}"]'] * 200)).encode()

    def leave():
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port)) as s:
                s.sendall(PUSH % len(body) + body)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    together(leave, 8)
    assert server.push({"app": "x"}, ["fine"]).status == 204
    stops_cleanly(server)


def test_tails_that_never_read(nodes):
    """They keep nobody from pushing, and lose no line: what does not fit waits in the store."""
    server = nodes.server(config="memory: 16MiB\n")
    tails = [server.tail('{app="t"}') for _ in range(40)]
    n = 0
    while n < 12_000:
        lines = [f"{n + i} " + "\x01" * 300 for i in range(500)]  # six times as long in JSON
        sawlog.wait_for("a push", lambda: server.push({"app": "t"}, lines).status == 204, 10)
        n += len(lines)
    share = server.metrics()['sawlog_memory_held_bytes{account="tails"}']
    assert share <= 4 << 20
    for tail in tails[5:]:
        tail.close()
    for tail in tails[:5]:
        assert [int(e[1].split()[0]) for e in tail.entries(n, 30)] == list(range(n))
        tail.close()
    stops_cleanly(server)


def test_tail_of_lines_longer_than_a_socket_may_hold(nodes):
    server = nodes.server()
    tail = server.tail('{app="long"}')
    time.sleep(0.3)
    for i in range(10):
        lines = [f"{i * 4 + k} " + "\x01" * 250_000 for k in range(4)]  # 1.5 MB of JSON each
        assert server.push({"app": "long"}, lines).status == 204
    assert [int(e[1].split()[0]) for e in tail.entries(40, 30)] == list(range(40))
    tail.close()
    stops_cleanly(server)


def test_bodies_that_unfold_to_much(nodes):
    """What decoding takes is charged: many such bodies at once get 429 or 413, and cost no memory."""
    server = nodes.server(config="memory: 16MiB\n")
    now, answers, peak = time.time_ns(), [], 0
    bodies = [
        (b'{"streams":[' + b"[]," * 2_000_000 + b"[]]}", None),
        (b'{"streams":[{"stream":{"a":"b"},"values":[' + b'["1","x"],' * 400_000 + b'["1","x"]]}]}', None),
        (gzip.compress(b"[" + b"[]," * 9_000_000 + b"[]]"), "gzip"),
        (zlib.compress(b" " * 30_000_000), "deflate"),
        (gzip.compress(b'{"streams":[{"stream":{"a":"b"},"values":[["%d","%s"]]}]}' % (now, b"z" * 200_000)), "gzip"),
    ]

    def send():
        for body, encoding in bodies:
            headers = {**JSON, **({"Content-Encoding": encoding} if encoding else {})}
            answers.append(server.call("POST", "/loki/api/v1/push", body, headers).status)

    senders = [threading.Thread(target=send, daemon=True) for _ in range(20)]
    for t in senders:
        t.start()
    while any(t.is_alive() for t in senders):
        peak = max(peak, server.rss_anon())
        time.sleep(0.005)
    assert len(answers) == 100 and set(answers) <= {204, 400, 413, 429}, answers
    assert sawlog.SANITIZED or peak < 48 << 20
    body, encoding = bodies[-1]
    a = server.call("POST", "/loki/api/v1/push", body, {**JSON, "Content-Encoding": encoding})
    assert a.status == 204, a.text
    m = server.metrics()
    assert m['sawlog_memory_held_bytes{account="memory"}'] < 4 << 20
    balanced(server)
    stops_cleanly(server)


def test_everything_at_once_then_stop(nodes):
    """Pushes, queries, tails good and bad, reloads and clients that leave: then SIGTERM among them."""
    server = nodes.server(config="memory: 32MiB\n")
    over, acked = threading.Event(), []

    def push():
        lines = [f"{len(acked)} " + "x" * 200] * 100
        if server.push({"app": "all"}, lines).status == 204:
            acked.append(len(lines))

    def query():
        server.get("/loki/api/v1/query_range", {"query": "{}", "limit": 0})

    def tail():
        t = server.tail("{}", limit=1000)
        t.sock.sendall(b"\xff\x00garbage")
        t.close()

    def leave():
        for request in (b"GET /loki/api/v1/query_range?query=%7B%7D&limit=0 HTTP/1.1\r\nHost: x\r\n\r\n",
                        b"POST /-/flush HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", PUSH % 10_000 + b"{"):
            with socket.create_connection(("127.0.0.1", server.port)) as s:
                s.sendall(request)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def reload():
        server.call("POST", "/-/reload", b"")

    def keep_at(what):
        while not over.is_set():
            try:
                what()
            except (OSError, http.client.HTTPException, AssertionError):
                time.sleep(0.01)  # a server that is gone is not asked in a frenzy

    silent = [server.tail("{}") for _ in range(20)]  # they never read
    clients = [threading.Thread(target=keep_at, args=(w,), daemon=True) for w in (push, push, push, query, tail, leave, reload)]
    for c in clients:
        c.start()
    time.sleep(3)
    stops_cleanly(server)
    over.set()
    for c in clients:
        c.join()
    for t in silent:
        t.close()
    server.start()
    balanced(server)
    # Those committed while the server stopped may not have heard of it.
    assert sum(acked) <= len(server.lines('{app="all"}')) <= sum(acked) + 300
