# SPDX-License-Identifier: Apache-2.0
"""Forwarders with several servers, with none, and with one that says no."""
import os
import time

import pytest
import sawlog


class Writer:
    """Appends numbered lines to a file."""

    def __init__(self, path):
        self.path, self.n = path, 0
        path.write_text("")

    def write(self, n):
        with open(self.path, "a") as f:
            for _ in range(n):
                f.write(f"line {self.n:08d} of an application that goes on\n")
                self.n += 1

    def wanted(self):
        return {f"line {i:08d} of an application that goes on" for i in range(self.n)}


def lines_of(server):
    return server.lines('{app="app"}')


FAST = ("--failover_after", "1s", "--return_after", "2s")


def test_failover_and_return(nodes, tmp_path):
    """One of two servers is killed in mid-flow and comes back; twice.  Each line is at one of them;
    no server has one twice; at both is at most what was under way when one was left."""
    a = nodes.server(name="a", start=False)
    b = nodes.server(name="b", start=False)
    a.data, b.data = tmp_path / "data-a", tmp_path / "data-b"
    a.start()
    b.start()
    w = Writer(tmp_path / "app.log")
    f = sawlog.Forwarder(tmp_path, f"{a.url},{b.url}", [w.path], args=FAST)
    try:
        f.start()
        for _ in range(2):
            for _ in range(10):
                w.write(2000)
                time.sleep(0.02)
            a.kill()
            before = b.metric("sawlog_sequence")
            w.write(20000)
            sawlog.wait_for("lines at b", lambda: b.metric("sawlog_sequence") > before)
            a.start()
            before = a.metric("sawlog_sequence")

            def back_at_a():
                w.write(100)
                return a.metric("sawlog_sequence") > before
            sawlog.wait_for("lines at a again", back_at_a, seconds=30)
        def all_there():
            return len(set(lines_of(a)) | set(lines_of(b))) >= w.n
        sawlog.wait_for("all lines", all_there, seconds=30)
        at_a, at_b = lines_of(a), lines_of(b)
        assert len(at_a) == len(set(at_a)) and len(at_b) == len(set(at_b))
        assert set(at_a) | set(at_b) == w.wanted()
        # Two batches at most were under way when a was left.
        assert len(set(at_a) & set(at_b)) <= 2 * 25000
    finally:
        assert f.stop() == 0
        f.close()


def test_restarted_in_the_middle(nodes, tmp_path):
    """A forwarder that is started with the second server alone knows where it was."""
    a = nodes.server(name="a", start=False)
    b = nodes.server(name="b", start=False)
    a.data, b.data = tmp_path / "data-a", tmp_path / "data-b"
    a.start()
    b.start()
    w = Writer(tmp_path / "app.log")

    def run(urls, n):
        w.write(n)
        r = sawlog.run("forward", "--once", "--quiet", "--to", urls, "--data", tmp_path / "positions",
                       *FAST, w.path)
        assert r.returncode == 0, r.stderr

    run(b.url, 10)
    run(f"{a.url},{b.url}", 10)
    a.kill()
    # b has the beginning and not the middle: it is told that this is elsewhere.
    run(f"{a.url},{b.url}", 10)
    a.start()
    assert sorted(lines_of(a) + lines_of(b)) == sorted(w.wanted())
    assert len(lines_of(a)) == 10


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(sawlog.SANITIZED, reason="measures memory and time")
def test_a_server_away_costs_nothing(nodes, tmp_path):
    server = nodes.server(start=False)
    w = Writer(tmp_path / "app.log")
    f = nodes.forwarder(server, w.path)
    w.write(200000)
    time.sleep(2)
    rss, cpu = f.rss_anon(), cpu_seconds(f.child.pid)
    w.write(400000)
    time.sleep(6)
    rss_after, cpu_after = f.rss_anon(), cpu_seconds(f.child.pid)
    disk = sum(p.stat().st_size for p in f.data.rglob("*") if p.is_file())
    print(f"RssAnon {rss >> 10} -> {rss_after >> 10} KiB, {cpu_after - cpu:.2f} s of CPU in 6 s, "
          f"{disk} bytes on disk")
    assert rss_after < 24 << 20 and rss_after - rss < 2 << 20
    assert cpu_after - cpu < 0.3
    assert disk < 64 << 10
    server.start()
    sawlog.wait_for("all lines", lambda: server.metric("sawlog_sequence") >= w.n, seconds=40)
    got = lines_of(server)
    assert len(got) == w.n and set(got) == w.wanted()


def test_poison_is_put_aside_and_told(nodes, tmp_path):
    """A server of another tenant's rule is no loss; a record that it refuses for good is kept, told in
    the stream, and the others arrive."""
    server = nodes.server(args=["--limits.max_body", "64KiB"])
    w = Writer(tmp_path / "app.log")
    w.write(100)
    with open(w.path, "ab") as f:
        f.write(os.urandom(400000).replace(b"\n", b"x") + b"\n")
    with open(w.path, "a") as f:
        f.write("behind it\n")
    fw = nodes.forwarder(server, w.path, args=["--packing", "plain"])
    sawlog.wait_for("the line behind it", lambda: "behind it" in lines_of(server), seconds=30)
    got = lines_of(server)
    assert [g for g in got if g.startswith("line ")] == sorted(w.wanted())
    told = [g for g in got if g.startswith("sawlog: the server refused a line")]
    kept = list(fw.data.rglob("quarantine/*"))
    assert len(told) == len(kept) >= 1
    for path in kept:
        head, _, body = path.read_bytes().partition(b"\n")
        assert b'"error"' in head and len(body) > 0
        assert any(str(path) in t for t in told)
    assert "was refused" in fw.err


def test_a_wrong_token_is_no_poison(nodes, tmp_path):
    """401 and 403 are put right at the server some day: lines wait."""
    server = nodes.server(start=False)
    (tmp_path / "token").write_text("slt_nobody\n")
    w = Writer(tmp_path / "app.log")
    w.write(5)
    r = sawlog.run("forward", "--once", "--to", "http://127.0.0.1:1", "--token_file",
                   tmp_path / "missing", "--data", tmp_path / "p", w.path)
    assert r.returncode == 78 and b"token_file" in r.stderr
    r = sawlog.run("forward", "--once", "--to", f"{server.url},{server.url}", "--data", tmp_path / "p", w.path)
    assert r.returncode == 78 and b"named twice" in r.stderr
    r = sawlog.run("forward", "--once", "--to", server.url, "--ca", tmp_path / "no.pem", "--data",
                   tmp_path / "p", w.path)
    assert r.returncode == 78 and b"no.pem" in r.stderr


def test_two_to_flags(nodes, tmp_path):
    server = nodes.server()
    w = Writer(tmp_path / "app.log")
    w.write(5)
    r = sawlog.run("forward", "--once", "--quiet", "--to", "http://127.0.0.1:1", "--to", server.url,
                   "--failover_after", "200ms", "--data", tmp_path / "p", w.path)
    assert r.returncode == 0, r.stderr
    assert len(lines_of(server)) == 5
