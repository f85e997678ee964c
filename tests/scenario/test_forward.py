# SPDX-License-Identifier: Apache-2.0
"""sawlog forward: files and stdin, each line once whatever happens to either side."""
import signal
import subprocess
import time

import sawlog

SELECT = '{app="app"}'


def wait_lines(server, want, select=SELECT, seconds=sawlog.PATIENCE):
    got = []

    def same():
        got[:] = server.lines(select)
        return len(got) >= len(want)

    sawlog.wait_for(f"{len(want)} lines", same, seconds)
    assert got == want


def test_follows_a_file(nodes, server):
    log = nodes.folder / "app.log"
    log.write_bytes(b"one\ntwo\npart")
    nodes.forwarder(server, log)
    wait_lines(server, ["one", "two"])
    with log.open("ab") as f:
        f.write(b"ial\n")
    wait_lines(server, ["one", "two", "partial"])
    labels = server.entries(SELECT)[0][2]
    assert labels["file"] == str(log) and labels["input"] == "file" and labels["host"]


def test_rename_and_recreate(nodes, server):
    log = nodes.folder / "app.log"
    log.write_text("1\n2\n")
    nodes.forwarder(server, log)
    wait_lines(server, ["1", "2"])
    with log.open("a") as f:
        log.rename(nodes.folder / "app.log.1")
        log.write_text("4\n")
        f.write("3\n")
    sawlog.wait_for("all", lambda: sorted(server.lines(SELECT)) == ["1", "2", "3", "4"])


def test_truncation(nodes, server):
    log = nodes.folder / "app.log"
    log.write_text("a\nb\n")
    nodes.forwarder(server, log)
    wait_lines(server, ["a", "b"])
    with log.open("r+") as f:
        f.truncate(0)
        f.write("c\n")
    wait_lines(server, ["a", "b", "c"])


def test_kill_of_forwarder_and_rotation_while_it_is_down(nodes, server):
    log = nodes.folder / "app.log"
    log.write_text("".join(f"{i}\n" for i in range(1000)))
    forwarder = nodes.forwarder(server, log)
    wait_lines(server, [str(i) for i in range(1000)])
    forwarder.kill()
    with log.open("a") as f:
        f.write("1000\n")
    log.rename(nodes.folder / "app.log.1")
    log.write_text("1001\n")
    forwarder.start()
    wait_lines(server, [str(i) for i in range(1002)])


def test_server_away(nodes):
    server = nodes.server(start=False)
    log = nodes.folder / "app.log"
    log.write_text("".join(f"{i}\n" for i in range(5000)))
    forwarder = nodes.forwarder(server, log)
    time.sleep(1)
    assert forwarder.running
    server.start()
    wait_lines(server, [str(i) for i in range(5000)])
    server.kill()
    with log.open("a") as f:
        f.write("".join(f"{i}\n" for i in range(5000, 6000)))
    time.sleep(0.5)
    server.start()
    wait_lines(server, [str(i) for i in range(6000)])


def test_stdin_and_exit(nodes, server):
    text = "".join(f"line {i}\n" for i in range(20000)).encode() + b"no newline at the end"
    r = subprocess.run([sawlog.SAWLOG, "forward", "--to", server.url, "--data",
                        str(nodes.folder / "fwd"), "--app", "pipe", "-"], input=text,
                       capture_output=True, timeout=60)
    assert r.returncode == 0, r.stderr
    assert server.lines('{app="pipe"}') == text.decode().split("\n")


def test_once(nodes, server):
    log = nodes.folder / "app.log"
    log.write_text("x\ny\n")
    f = nodes.forwarder(server, log, args=["--once"])
    assert f.child.wait(20) == 0
    assert server.lines(SELECT) == ["x", "y"]


def test_a_path_that_is_not_there(nodes, server):
    """Told, and with --once an error: it may be a typing error."""
    f = nodes.forwarder(server, nodes.folder / "nope.log", args=["--once"])
    assert f.child.wait(20) == 74
    assert "nope.log: there is no such file" in f.err
    f = nodes.forwarder(server, nodes.folder / "later*.{log,txt}")
    sawlog.wait_for("it is told", lambda: "not there yet" in f.err)
    (nodes.folder / "later.txt").write_text("one\n")
    sawlog.wait_for("it is read", lambda: server.lines('{app="later"}') == ["one"])


def test_no_path_at_all(nodes):
    config = nodes.folder / "forward.yaml"
    config.write_text("inputs:\n  - file: {paths: []}\n")
    got = sawlog.run("check", config)
    assert got.returncode == 78 and b"paths: none is named" in got.stderr, got.stderr


def test_stands_still_at_its_ceiling(nodes):
    """A server that is away costs nothing but the file: memory stays under the ceiling."""
    server = nodes.server(start=False)
    log = nodes.folder / "app.log"
    line = "z" * 99 + "\n"
    log.write_text(line * 1_000_000)  # 100 MB
    forwarder = nodes.forwarder(server, log, args=["--memory", "16MiB"])
    peak = 0
    for _ in range(30):
        time.sleep(0.1)
        peak = max(peak, forwarder.rss_anon())
    assert peak < 16 << 20 or sawlog.SANITIZED, f"{peak} bytes"
    server.start()
    q = 'sum(count_over_time({app="app"}[10y]))'

    def count():
        r = server.get("/loki/api/v1/query", {"query": q}).json()["data"]["result"]
        return r and int(r[0]["value"][1]) == 1_000_000

    sawlog.wait_for("all lines", count, 90)
    assert forwarder.rss_anon() < 16 << 20 or sawlog.SANITIZED


def test_second_instance_is_told(nodes, server):
    log = nodes.folder / "app.log"
    log.write_text("x\n")
    nodes.forwarder(server, log)
    wait_lines(server, ["x"])
    r = sawlog.run("forward", "--to", server.url, "--data", nodes.folder / "forwarder-data", log)
    assert r.returncode == 75 and b"forwarder-data" in r.stderr


def test_graceful_stop_keeps_positions(nodes, server):
    log = nodes.folder / "app.log"
    log.write_text("1\n")
    forwarder = nodes.forwarder(server, log)
    wait_lines(server, ["1"])
    assert forwarder.kill(signal.SIGTERM) == 0
    with log.open("a") as f:
        f.write("2\n")
    forwarder.start()
    wait_lines(server, ["1", "2"])
    assert server.metric("sawlog_deduplicated_records_total", input="file") == 0


def test_state_and_end_without_a_server(nodes):
    """It tells how it goes when asked, and does not keep one waiting for a server that is away."""
    log = nodes.folder / "app.log"
    log.write_text("1\n")
    forwarder = nodes.forwarder(nodes.server(start=False), log)
    sawlog.wait_for("a try", lambda: "not connected" in forwarder.err)

    def told():
        forwarder.child.send_signal(signal.SIGUSR1)
        time.sleep(0.1)
        return ("uplink: not connected to" in forwarder.err
                and "app.log: 0 acknowledged, 2 read" in forwarder.err
                and "sawlog_forward_lag_bytes 2" in forwarder.err)

    sawlog.wait_for("the dump", told)
    begin = time.monotonic()
    assert forwarder.kill(signal.SIGTERM) == 75
    assert time.monotonic() - begin < 5
