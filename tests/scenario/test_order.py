# SPDX-License-Identifier: Apache-2.0
"""Order: within a stream as they arrived; between streams by time, ties as they were committed."""
import json
import time

import pytest
import sawlog

LEVELS = ["info", "error", "warn", "debug", "ERROR no level of its own", "unknown"]
N = 12000  # more than two pages of the command line


@pytest.fixture
def tied(server):
    """Lines of several streams and levels, all of one time; sent one behind the other."""
    ns = time.time_ns()
    for i in range(0, N, 40):
        streams = []
        for k in range(i, i + 40):
            app, level = f"a{k % 3}", LEVELS[k * 7 % len(LEVELS)]
            streams.append({"stream": {"app": app, "set": "tied"},
                            "values": [[str(ns), f"level={level} line {k}", {"trace": f"t{k % 5}"}]]})
        body = json.dumps({"streams": streams}).encode()
        assert server.call("POST", "/loki/api/v1/push", body,
                           {"Content-Type": "application/json"}).status == 204
    return server


def numbers(text):
    return [int(line.rsplit(" ", 1)[1]) for line in text.decode().splitlines()]


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("limit", [0, 7, 5001, N - 1])
def test_query_prints_ties_as_committed(tied, forward, limit):
    args = ["--forward"] if forward else []
    done = sawlog.run("query", '{set="tied"}', "--addr", tied.url, "-o", "raw", "--since", "1h",
                      "--limit", limit, *args)
    order = list(range(N)) if forward else list(reversed(range(N)))
    assert numbers(done.stdout) == order[:limit or N], done.stderr


def test_tail_prints_ties_as_committed(tied):
    done = sawlog.run("tail", '{set="tied"}', "--addr", tied.url, "-o", "raw", "--no-follow",
                      "--limit", 9000)
    assert numbers(done.stdout) == list(range(N - 9000, N)), done.stderr


def test_each_stream_of_an_answer_is_in_order(tied):
    """Loki's answer as it is: no order between its streams, but one within each."""
    for direction, step in (("forward", 1), ("backward", -1)):
        data = tied.query('{set="tied"}', limit=5000, direction=direction)["data"]
        assert len(data["result"]) > 3
        for stream in data["result"]:
            assert all(len(v) == 2 for v in stream["values"])
            told = [int(v[1].rsplit(" ", 1)[1]) for v in stream["values"]]
            assert told == sorted(told)[::step]


def test_sequences_are_given_when_asked_for(tied):
    data = tied.query('{set="tied"}', limit=100, sequence="true")["data"]
    entries = [(v[2]["seq"], v[1]) for s in data["result"] for v in s["values"]]
    assert [line.rsplit(" ", 1)[1] for _, line in sorted(entries)] == [str(k) for k in range(100)]


@pytest.mark.parametrize("shape", ["plain", "java"])
def test_lines_without_a_time_keep_their_order(nodes, shape):
    """Levels make streams of an answer; lines of one read have times of their own."""
    server = nodes.server()
    log = nodes.folder / "untimed.log"
    log.write_text("".join(f"level={LEVELS[k * 5 % 4]} line {k}\n" for k in range(3000)))
    config = nodes.folder / "forward.yaml"
    joining = "" if shape == "plain" else f", multiline: {{rule: {shape}}}"
    config.write_text(f"inputs:\n  - file: {{paths: ['{log}']{joining}}}\n")
    nodes.forwarder(server, args=["-c", config])
    sawlog.wait_for("all lines", lambda: len(server.lines('{file=~".+"}')) == 3000)
    for args, order in (["--forward"], range(3000)), ([], reversed(range(3000))):
        done = sawlog.run("query", '{file=~".+"}', "--addr", server.url, "-o", "raw", *args)
        assert numbers(done.stdout) == list(order), done.stderr
    times = [ns for ns, _, _ in server.entries('{file=~".+"}')]
    assert len(set(times)) == len(times)
    assert max(times) <= time.time_ns()
