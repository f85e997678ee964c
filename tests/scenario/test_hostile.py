# SPDX-License-Identifier: Apache-2.0
"""Hostile and clumsy clients: they cost themselves, never the process or another client."""
import socket
import time

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


def stops_cleanly(server):
    """Under a sanitizer this is also where a leak shows."""
    began = time.monotonic()
    assert server.stop() == 0, server.err[-2000:]
    assert time.monotonic() - began < 10


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
    stops_cleanly(server)


def test_more_parameters_than_fit(nodes):
    """libmicrohttpd hung on these and lost the request."""
    server = nodes.server()
    query = b"&".join([b"a=b"] * 5000)
    answer = raw(server, b"GET /loki/api/v1/labels?" + query + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and b"parameters" in answer, answer
    stops_cleanly(server)
