# SPDX-License-Identifier: Apache-2.0
"""Tails: history joined to live without gap or duplicate, resumed after any break."""
import signal
import subprocess
import threading
import time

import pytest
import sawlog


def test_history_joins_live(server):
    server.push({"app": "t"}, [f"old {i}" for i in range(20)])
    tail = server.tail('{app="t"}', limit=5)
    assert [e[1] for e in tail.entries(5)] == [f"old {i}" for i in range(15, 20)]
    server.push({"app": "t"}, ["new"])
    server.push({"app": "other"}, ["not mine"])
    server.push({"app": "t"}, ["newer"])
    assert [e[1] for e in tail.entries(2)] == ["new", "newer"]
    tail.close()


def test_what_is_sent_at_once_is_told(server):
    """A line that comes as soon as the tail is answered is behind its beginning, with and without history."""
    for i in range(30):
        tail = server.tail('{app="t"}', limit=i % 2)
        server.push({"app": "t"}, [f"{i} a", f"{i} b"])
        assert [e[1] for e in tail.entries(2 + (i % 2))][-2:] == [f"{i} a", f"{i} b"]
        tail.close()


def test_no_gap_no_duplicate_under_load(server):
    """Tails opened while lines stream in see each line once from history on."""
    n, step = 6000, 50

    def send():
        for i in range(0, n, step):
            server.push({"app": "load"}, [f"{k}" for k in range(i, i + step)])

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    tails = []
    for _ in range(5):
        tails.append(server.tail('{app="load"}', limit=100000))
        time.sleep(0.05)
    for tail in tails:
        assert sorted(int(e[1]) for e in tail.entries(n)) == list(range(n))
        tail.close()
    sender.join()


def test_late_lines_are_not_skipped(server):
    """A tail follows the order of commits: a line with an old time still arrives."""
    tail = server.tail('{app="late"}')
    now = time.time_ns()
    server.push({"app": "late"}, [(now, "now")])
    server.push({"app": "late"}, [(now - 3600 * 10**9, "an hour late")])
    assert [e[1] for e in tail.entries(2)] == ["now", "an hour late"]


def test_resume_by_cursor_over_restart_and_parts(nodes):
    server = nodes.server(config="memory: 16MiB\n")
    tail = server.tail('{app="r"} |= "keep"')
    server.push({"app": "r"}, ["keep 0", "other"])
    assert [e[1] for e in tail.entries(1)] == ["keep 0"]
    cursor = tail.cursor
    tail.close()
    # More than the head holds, so that resuming reads parts.
    for i in range(30):
        filler = "x" * 20000
        assert server.push({"app": "r"}, [f"keep {i * 20 + k + 1} {filler}" for k in range(20)]).status == 204
    server.kill()
    server.start()
    tail = server.tail('{app="r"} |= "keep"', cursor=cursor)
    assert [int(e[1].split()[1]) for e in tail.entries(600, 60)] == list(range(1, 601))


def test_slow_reader_gets_everything(server):
    tail = server.tail('{app="slow"}')
    for i in range(40):
        assert server.push({"app": "slow"}, [f"{i * 100 + k} " + "y" * 1000 for k in range(100)]).status == 204
    time.sleep(1)
    assert [int(e[1].split()[0]) for e in tail.entries(4000, 60)] == list(range(4000))


def test_command_reconnects(nodes):
    server = nodes.server()
    server.push({"app": "c"}, ["before"])
    out = (nodes.folder / "tail.out").open("wb")
    child = subprocess.Popen([sawlog.SAWLOG, "tail", '{app="c"}', "-o", "raw", "--addr", server.url],
                             stdout=out, stderr=subprocess.DEVNULL)
    try:
        lines = lambda: (nodes.folder / "tail.out").read_text().split("\n")[:-1]  # noqa: E731
        sawlog.wait_for("history", lambda: lines() == ["before"])
        server.push({"app": "c"}, ["one"])
        sawlog.wait_for("live", lambda: len(lines()) == 2)
        server.kill()
        server.start()
        server.push({"app": "c"}, ["two"])
        server.push({"app": "c"}, ["three"])
        sawlog.wait_for("after the reconnect", lambda: len(lines()) == 4)
        assert lines() == ["before", "one", "two", "three"]
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
    finally:
        child.kill()
        child.wait()


def test_tail_of_a_metric_query_is_refused(server):
    with pytest.raises(AssertionError, match="400"):
        server.tail('sum(count_over_time({app="x"}[1m]))')


def test_filters_and_marks(server):
    """-i and -e go to the server, behind a comment too; --highlight marks what matches."""
    server.push({"app": "a"}, ["GET /one", "GET /healthz", "PUT /two", "GET /three"])
    got = subprocess.run(
        [sawlog.SAWLOG, "tail", '{app="a"} # all of it', "--no-follow", "-o", "raw", "--addr", server.url,
         "-i", "GET", "-i", "e$", "-e", "healthz", "--highlight", "/t?", "--color", "always"],
        capture_output=True, text=True, timeout=sawlog.PATIENCE)
    assert (got.returncode, got.stderr) == (0, "")
    assert got.stdout == "GET \x1b[30;103m/\x1b[0mone\nGET \x1b[30;103m/t\x1b[0mhree\n"
    got = subprocess.run([sawlog.SAWLOG, "tail", "{}", "--highlight", "(", "--addr", server.url],
                         capture_output=True, text=True, timeout=sawlog.PATIENCE)
    assert got.returncode == 2 and "--highlight" in got.stderr, got.stderr
