# SPDX-License-Identifier: Apache-2.0
"""Whoever reads slowly, or is away, finds all of it later: the store is the only buffer.  And a message stays whole."""
import json
import threading
import time

import pytest
import sawlog
import zones
from zones import MessageFollower, Rsyslogd, wait_for

LOG = '{app="shop", source="APP/0"}'
LINES = 30_000  # more than any of Loggregator's buffers, of 100 to 10,000 messages


@pytest.fixture
def drained(nodes):
    """A server that drains app "shop" to an rsyslogd, which is not started yet."""
    if not Rsyslogd.program():
        pytest.skip("rsyslogd is not there")
    rsyslogd = Rsyslogd(nodes.folder / "drain")
    server = nodes.server(config=f"drains: {{apps: {{shop: ['{rsyslogd.url}']}}}}\n")
    yield server, rsyslogd
    rsyslogd.close()


def push(server, lines, source="APP/0"):
    now = time.time_ns()
    body = json.dumps({"streams": [{"stream": {"app": "shop", "source": source},
                                    "values": [[str(now + i), x] for i, x in enumerate(lines)]}]}).encode()
    answer = server.call("POST", "/loki/api/v1/push", body, {"Content-Type": "application/json"})
    assert answer.status == 204, answer.text


def drained_lines(rsyslogd):
    """Without what the drain has to tell of itself."""
    return [text for _, source, text in rsyslogd.messages() if source != "[LGR]"]


def test_a_burst_while_nobody_reads(drained):
    """W-D2, W-D6: 30,000 lines in a burst, with a drain that is away, a tail that does not read and one that is away:
    none of them loses a line, and none is told that it did."""
    server, rsyslogd = drained
    slow = zones.LokiFollower.__new__(zones.LokiFollower)  # connected, and not reading yet
    zones.Follower.__init__(slow, "the slow tail")
    slow.tail = server.tail(LOG, limit=0)
    away = server.tail(LOG, limit=0)
    push(server, ["the first"])
    away.entries(1)
    cursor = away.cursor
    away.close()
    lines = [f"line {i} of a burst that no buffer of messages holds" for i in range(LINES)]
    for i in range(0, LINES, 3000):
        push(server, lines[i:i + 3000])
    # The tail that was away goes on behind its last line.
    back = server.tail(LOG, cursor=cursor)
    assert [x[1] for x in back.entries(LINES, 60)] == lines
    back.close()
    slow.tail.sock.settimeout(None)
    slow.start()
    wait_for("the slow tail has all", lambda: len(slow.got) > LINES or slow.error, 60)
    assert slow.got == ["the first", *lines]
    rsyslogd.start()
    wait_for("the drain has all", lambda: rsyslogd.file.exists() and
             rsyslogd.file.read_text().count("[APP/0]") > LINES, 60)
    assert drained_lines(rsyslogd) == ["the first", *lines]
    assert server.lines('{app="shop", source="LGR"} |~ "dropped|lost|missed"') == []


def test_messages_of_several_lines_stay_whole(drained):
    """W-D3: stack traces of two instances at once are one message each, at the drain as in a tail, and those of an
    instance are in order."""
    server, rsyslogd = drained
    rsyslogd.start()
    tail = MessageFollower(server, "shop")
    n = 150

    def trace(instance, i):
        return f"instance {instance}, trace {i}\n" + "\n".join(f"\tat of.instance{instance}.line{k}" for k in range(20))

    def send(instance):
        for i in range(n):
            push(server, [trace(instance, i)], f"APP/{instance}")

    senders = [threading.Thread(target=send, args=(k,)) for k in (0, 1)]
    for s in senders:
        s.start()
    for s in senders:
        s.join()
    wait_for("the drain has all", lambda: len(drained_lines(rsyslogd)) >= 2 * n)
    wait_for("the tail has all", lambda: len(tail.got) >= 2 * n)
    # rsyslogd writes line ends and tabs within a message as #012 and #011.
    drain = [x.replace("#012", "\n").replace("#011", "\t") for x in drained_lines(rsyslogd)]
    for got in (drain, tail.got):
        for instance in (0, 1):
            mine = [x for x in got if x.startswith(f"instance {instance},")]
            assert mine == [trace(instance, i) for i in range(n)]
        assert len(got) == 2 * n
    tail.close()
    recent = sawlog.run("logs", "shop", "--recent", "--addr", server.url, "-n", 3 * n).stdout
    assert recent.count(b"[APP/") == 2 * n * 21
