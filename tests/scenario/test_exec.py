# SPDX-License-Identifier: Apache-2.0
"""The exec input: lines of commands, and forwarders behind a pipe."""
import os
import signal
import time

import sawlog


def config(*inputs):
    return "inputs:\n" + "".join(f"  - exec: {i}\n" for i in inputs)


def test_lines(nodes):
    server = nodes.server(config=config(
        '{command: "echo hello from $$NAME; echo not this >&2", env: {NAME: a shell}, restart: never, app: once}',
        '{command: [printf, "%s\\n", "$$NAME | wc"], restart: never, app: list}',
        '{command: "date +%s.%N", interval: 300ms, app: clock}'))
    sawlog.wait_for("lines", lambda: server.lines('{app="once"}') == ["hello from a shell"])
    sawlog.wait_for("the list", lambda: server.lines('{app="list"}') == ["$NAME | wc"])
    sawlog.wait_for("ticks", lambda: len(server.lines('{app="clock"}')) >= 3)
    assert "not this" in server.err
    assert server.metric("sawlog_exec_exits_total", app="once", result="ok") == 1


def test_a_flood_of_standard_error_is_limited(nodes):
    server = nodes.server(config=config('{command: "seq 50000 >&2; echo done", restart: never, app: noisy}'))
    sawlog.wait_for("the end", lambda: server.lines('{app="noisy"}') == ["done"])
    assert server.err.count("noisy:") < 40


def test_kill_and_restart(nodes):
    """The child goes with the server, also when that is killed; a pipe has no memory, so what it says
    twice is there twice."""
    pids = nodes.folder / "pids"
    server = nodes.server(config=config(
        f'{{command: "echo $$$$ >>{pids}; echo line; exec sleep 1000", app: long}}'))
    sawlog.wait_for("a line", lambda: server.lines('{app="long"}') == ["line"])
    server.kill()
    pid = int(pids.read_text())
    sawlog.wait_for("the child's end", lambda: not alive(pid))
    server.start()
    sawlog.wait_for("a second line", lambda: server.lines('{app="long"}') == ["line"] * 2)
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 10
    assert not alive(int(pids.read_text().split()[1]))


def alive(pid):
    try:
        return ") Z " not in open(f"/proc/{pid}/stat").read()
    except OSError:
        return False


def test_stop_with_a_child_that_does_not_listen(nodes):
    server = nodes.server(config=config(
        '{command: "trap \'\' TERM; echo here; while :; do sleep 0.1; done", app: deaf}'))
    sawlog.wait_for("a line", lambda: server.lines('{app="deaf"}') == ["here"])
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 10


def forwarder(nodes, log, **more):
    data = nodes.folder / "remote"
    return config(f'{{command: [{sawlog.SAWLOG}, forward, --stdio, --data, {data}, {log}], '
                  f'format: forward, app: remote}}')


def find_children(pid):
    return [int(p) for p in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def test_stdio_is_acknowledged_both_ways(nodes):
    """Server and forwarder are killed in turn while the log grows: each line once."""
    log = nodes.folder / "app.log"
    log.write_text("")
    server = nodes.server(config=forwarder(nodes, log))
    n = 0
    for step in range(6):
        with open(log, "a") as f:
            for _ in range(20000):
                f.write(f"line {n}\n")
                n += 1
                if n % 5000 == 0:
                    f.flush()
        sawlog.wait_for("some lines", lambda: server.metric(
            "sawlog_committed_records_total", input="file") > 0, seconds=30)
        if step % 2:
            for child in find_children(server.child.pid):
                os.kill(child, signal.SIGKILL)
        else:
            server.kill()
            server.start()
    want = [f"line {i}" for i in range(n)]
    sawlog.wait_for("all lines", lambda: server.metric("sawlog_sequence") >= n, seconds=40)
    got = server.lines('{app="app"}')
    assert len(got) == n and sorted(got) == sorted(want)


def test_stdio_beside_a_login_shell(nodes):
    """What a shell says first is skipped, and what comes on standard error is logged."""
    log = nodes.folder / "app.log"
    log.write_text("a line\n")
    command = (f"echo Welcome to this host; echo last login >&2; "
               f"exec {sawlog.SAWLOG} forward --stdio --data {nodes.folder}/remote {log}")
    server = nodes.server(config=config(f'{{command: "{command}", format: forward, app: remote}}'))
    sawlog.wait_for("the line", lambda: server.lines('{app="app"}') == ["a line"])
    assert "last login" in server.err


def test_stdio_mistakes(nodes):
    r = sawlog.run("forward", "--stdio", "-", stdin=b"")
    assert r.returncode == 78 and b"--stdio" in r.stderr
    server = nodes.server(config=config('{command: "yes no frames", format: forward, app: wrong}'))
    sawlog.wait_for("a word of it", lambda: "does not begin as that of sawlog forward" in server.err)
    assert server.metric("sawlog_sequence") == 0
