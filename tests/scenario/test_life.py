# SPDX-License-Identifier: Apache-2.0
"""The life of a server: signals, reload, readiness, the ceiling, big data."""
import os
import random
import signal
import socket
import threading
import time

import sawlog


def test_sigterm_drains(server):
    """What was answered before the end is there; what was not has an error.  Within 10 s."""
    acked, end = [], []

    def push():
        n = 0
        while not end:
            lines = [f"{n + i}" for i in range(100)]
            try:
                if server.push({"app": "drain"}, lines).status == 204:
                    acked.extend(lines)
            except OSError:
                time.sleep(0.01)
            n += 100

    threads = [threading.Thread(target=push, daemon=True) for _ in range(1)]
    for t in threads:
        t.start()
    tail = server.tail('{app="nothing"}')
    time.sleep(1)
    start = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - start < (20 if sawlog.SANITIZED else 10)
    end.append(True)
    for t in threads:
        t.join()
    tail.close()
    server.start()
    got = server.lines('{app="drain"}')
    assert set(acked) <= set(got) and len(set(got)) == len(got)


def test_sighup_and_reload(nodes):
    a, b = nodes.folder / "a.log", nodes.folder / "b.log"
    a.write_text("from a\n")
    b.write_text("from b\n")
    server = nodes.server(config=f"inputs:\n  - file: {{paths: [{a}]}}\n")
    sawlog.wait_for("a is read", lambda: server.lines('{app="a"}') == ["from a"])
    server.config.write_text(f"inputs:\n  - file: {{paths: [{a}, {b}]}}\n")
    server.child.send_signal(signal.SIGHUP)
    sawlog.wait_for("b is read", lambda: server.lines('{app="b"}') == ["from b"])
    with a.open("a") as f:
        f.write("more\n")
    sawlog.wait_for("a goes on", lambda: server.lines('{app="a"}') == ["from a", "more"])
    # A bad file leaves all as it was, and the answer says what is wrong.
    server.config.write_text("inputs:\n  - fle: {}\n")
    answer = server.call("POST", "/-/reload")
    assert answer.status == 400 and "fle" in answer.text and "file" in answer.text
    with b.open("a") as f:
        f.write("still here\n")
    sawlog.wait_for("b goes on", lambda: server.lines('{app="b"}') == ["from b", "still here"])
    server.config.write_text(f"memory: 99MiB\ninputs:\n  - file: {{paths: [{a}, {b}]}}\n")
    answer = server.call("POST", "/-/reload")
    assert answer.status == 400 and "restart" in answer.text
    server.config.write_text(f"inputs:\n  - file: {{paths: [{a}, {b}]}}\n")
    assert server.call("POST", "/-/reload").text == "reloaded\n"
    assert server.lines('{app="a"}') == ["from a", "more"]


def test_sigusr1_dumps(server):
    server.push({"app": "x"}, ["y"])
    server.child.send_signal(signal.SIGUSR1)
    sawlog.wait_for("the dump", lambda: "memory charged" in server.out and "api:" in server.out)


def test_sd_notify(nodes):
    path = nodes.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(path))
        s.settimeout(10)
        server = nodes.server(env={"NOTIFY_SOCKET": str(path)})
        assert b"READY=1" in s.recv(1000)
        server.child.send_signal(signal.SIGTERM)
        assert b"STOPPING=1" in s.recv(1000)


def test_health_and_metrics(server):
    health = server.get("/healthz").json()
    assert health["healthy"] is True and health["durability"] == "sync"
    server.push({"app": "a"}, ["x", "y"])
    assert server.metric("sawlog_committed_records_total", input="loki") == 2
    assert server.metric("sawlog_received_records_total", input="loki") == 2
    server.kill()
    server.start()
    assert server.metric("sawlog_committed_records_total", input="loki") == 2


def test_twenty_times_memory(nodes):
    """Ingest 20 x `memory`, restart, read everything back; the ceiling holds throughout."""
    ceiling = 16 << 20
    server = nodes.server(config="memory: 16MiB\n")
    rng = random.Random(7)
    words = ["connection", "closed", "timeout", "user", "GET", "/index.html", "error", "retry", "disk"]
    sent, total, peak, n = 0, 0, 0, 0
    while total < 20 * ceiling:
        lines = []
        for _ in range(2000):
            lines.append(f"{n} " + " ".join(rng.choices(words, k=12)) + f" {rng.getrandbits(64):x}")
            n += 1
        answer = server.push({"app": "big", "shard": str(sent % 5)}, lines)
        if answer.status in (429, 503):
            n -= 2000
            time.sleep(0.05)
            continue
        assert answer.status == 204, answer.text
        total += sum(map(len, lines))
        sent += 1
        peak = max(peak, server.rss_anon())
    server.stop()
    server.start()
    seen = bytearray(n)
    cursor = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        data = server.query('{app="big"}', limit=5000, **more)["data"]
        for s in data["result"]:
            for _, line in s["values"]:
                seen[int(line.split(" ", 1)[0])] += 1
        peak = max(peak, server.rss_anon())
        cursor = data["sawlog"].get("next")
        if not cursor:
            break
    assert all(c == 1 for c in seen), f"{seen.count(0)} lines missing"
    print(f"peak RssAnon {peak / 2**20:.1f} MiB of {ceiling / 2**20:.0f}")
    assert peak < ceiling or sawlog.SANITIZED


def test_version_lists_inputs():
    r = sawlog.run("version")
    assert r.returncode == 0 and b"file" in r.stdout
    assert sawlog.run("--version").returncode == 0
    assert os.path.exists(sawlog.SAWLOG)
