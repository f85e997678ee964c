# SPDX-License-Identifier: Apache-2.0
"""`sawlog logs`: an application's lines in Cloud Foundry's shapes, recent and live."""
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time

import pytest
import sawlog

UTC = {"TZ": "UTC0"}
WHEN = 1_468_969_692_003_000_000  # 2016-07-19T23:08:12.003Z


def logs(server, *args, cwd=None, env=None):
    return subprocess.run([sawlog.SAWLOG, "logs", "--addr", server.url, *args], capture_output=True, text=True,
                          timeout=sawlog.PATIENCE, cwd=cwd, env={**os.environ, **UTC, **(env or {})})


class Follower(sawlog.Process):
    """The command as it follows."""

    def __init__(self, nodes, server, *args, name="logs"):
        super().__init__(name, nodes.folder)
        self.spawn([sawlog.SAWLOG, "logs", "--addr", server.url, *args], env=UTC)

    def texts(self):
        return [line.split(" OUT ", 1)[1] for line in self.out.splitlines() if " OUT " in line]


def push(server, app, lines, source="APP/PROC/WEB/0", err=False, labels=None):
    entries = [(ns, line, {"message_type": "ERR" if err else "OUT", "instance_id": source.rsplit("/", 1)[-1]})
               for ns, line in lines]
    answer = server.push({"app": app, "source": source, **(labels or {})}, entries)
    assert answer.status == 204, answer.text


@pytest.fixture
def follow(nodes):
    made = []

    def start(server, *args, **kw):
        made.append(Follower(nodes, server, *args, **kw))
        return made[-1]

    yield start
    for f in made:
        f.close()


def test_recent(server):
    """The last lines of all sources by their times, whichever came first; other apps and metrics are left out."""
    now = time.time_ns()
    push(server, "shop", [(now, "four")], labels={"event": "login"})
    push(server, "shop", [(now - 3 * 10**9, "one"), (now - 10**9, "three")], source="RTR/1")
    push(server, "shop", [(now - 2 * 10**9, "two")], err=True)
    push(server, "shop", [(now, "cpu:1")], labels={"event": "gauge"})
    push(server, "other", [(now, "not mine")])
    got = logs(server, "shop", "--recent")
    assert got.returncode == 0, got.stderr
    assert got.stderr == "Connected, dumping recent logs for app shop...\n\n"
    assert [line.split("] ")[1] for line in got.stdout.splitlines()] == ["OUT one", "ERR two", "OUT three", "OUT four"]
    assert [re.search(r"\[(.*)\]", line)[1] for line in got.stdout.splitlines()] == [
        "RTR/1", "APP/PROC/WEB/0", "RTR/1", "APP/PROC/WEB/0"]
    assert logs(server, "--app=shop", "--recent", "-n", "2").stdout.splitlines() == got.stdout.splitlines()[-2:]
    # As --app, by a label of another name, and nothing of an app that is not there.
    assert logs(server, "--app", "PROC", "--label", "part", "--recent").stdout == ""
    nobody = logs(server, "nobody", "--recent")
    assert (nobody.returncode, nobody.stdout) == (0, "") and "sawlog labels app" in nobody.stderr


def test_shapes(server):
    push(server, "shop", [(WHEN, "This is a log message")], source="App/0")
    push(server, "shop", [(WHEN + 10**9, "a\nb")], source="App/0", err=True)
    want = {
        "today": "   2016-07-19T23:08:12.00+0000 [App/0] OUT This is a log message\n"
                 "   2016-07-19T23:08:13.00+0000 [App/0] ERR a\n"
                 "   2016-07-19T23:08:13.00+0000 [App/0] ERR b\n",
        "2015": "2016-07-19T23:08:12.00+0000 [App/0]      OUT This is a log message\n"
                "2016-07-19T23:08:13.00+0000 [App/0]      ERR a\n" + " " * 41 + "b\n",
        "2013": "2016-07-19T23:08:12.00+0000 [App/0]   OUT This is a log message\n"
                "2016-07-19T23:08:13.00+0000 [App/0]   ERR a\n" + " " * 38 + "b\n",
        "2013-10": "2016-07-19T23:08:12.00+0000 shop [App/0]    STDOUT This is a log message\n"
                   "2016-07-19T23:08:13.00+0000 shop [App/0]    STDERR a\n" + " " * 44 + "b\n",
        "2013-09": "Jul 19 23:08:12 shop App/0 This is a log message\n"
                   "Jul 19 23:08:13 shop App/0 STDERR a\n" + " " * 27 + "b\n",
    }
    for shape, text in want.items():
        assert logs(server, "shop", "--recent", "--since", "2016-07-01", "--format", shape).stdout == text
    red = logs(server, "shop", "--recent", "--since", "2016-07-01", "--color", "always").stdout.splitlines()
    assert red[0] == "   2016-07-19T23:08:12.00+0000 [App/0] OUT This is a log message"
    assert red[1] == "   \x1b[31m2016-07-19T23:08:13.00+0000 [App/0] ERR a\x1b[0m"
    berlin = logs(server, "shop", "--recent", "--since", "2016-07-01", "--timezone", "Europe/Berlin").stdout
    assert berlin.startswith("   2016-07-20T01:08:12.00+0200 ")


def test_name_from_the_manifest(nodes, server):
    push(server, "shop", [(time.time_ns(), "hello")])
    where = nodes.folder / "project"
    where.mkdir()
    got = logs(server, "--recent", cwd=where)
    assert got.returncode == 2 and "--app NAME" in got.stderr and "manifest.yml" in got.stderr
    (where / "manifest.yml").write_text(
        "---\ndefaults: &d {memory: 1G}\napplications:\n- name: shop\n  <<: *d\n  env: {A: ((secret)), B: $x}\n"
        "- name: worker\n")
    assert " OUT hello\n" in logs(server, "--recent", cwd=where).stdout
    # What is named goes before it; named twice it is not clear.
    assert logs(server, "other", "--recent", cwd=where).stdout == ""
    got = logs(server, "shop", "--app", "shop", "--recent", cwd=where)
    assert got.returncode == 2 and "twice" in got.stderr
    for text in ("applications: []\n", "applications: shop\n", "- shop\n", ""):
        (where / "manifest.yml").write_text(text)
        got = logs(server, "--recent", cwd=where)
        assert got.returncode == 2 and "applications[0].name" in got.stderr, (text, got.stderr)
    (where / "manifest.yml").write_text("a: [\n")
    got = logs(server, "--recent", cwd=where)
    assert got.returncode == 2 and re.search(r"manifest.yml:\d+:\d+: not YAML.*; or give --app NAME\n", got.stderr)


def test_a_quote_in_a_name(server):
    push(server, 'a"b\\', [(time.time_ns(), "mine")])
    assert logs(server, 'a"b\\', "--recent").stdout.endswith(" OUT mine\n")


def test_follows_and_resumes(nodes, follow):
    """History, then live, over a restart of the server: each line once; W-D4."""
    server = nodes.server()
    now = time.time_ns()
    push(server, "shop", [(now - i, f"old {i}") for i in range(20, 0, -1)])
    f = follow(server, "shop")
    sawlog.wait_for("history", lambda: f.texts() == [f"old {i}" for i in range(10, 0, -1)])
    assert f.err == "Connected, tailing logs for app shop...\n\n"
    push(server, "shop", [(time.time_ns(), "live")])
    push(server, "other", [(time.time_ns(), "not mine")])
    sawlog.wait_for("live", lambda: f.texts()[10:] == ["live"])
    server.kill()
    server.start()
    for i in range(3):
        push(server, "shop", [(time.time_ns(), f"after {i}")])
    sawlog.wait_for("after the restart", lambda: f.texts()[11:] == ["after 0", "after 1", "after 2"])
    assert "connecting again" in f.err and "connected again" in f.err
    # A line that comes an hour late is printed late, not left out.
    push(server, "shop", [(time.time_ns() - 3600 * 10**9, "late")])
    sawlog.wait_for("late", lambda: f.texts()[14:] == ["late"])
    assert f.kill(signal.SIGINT) == 130


def test_equal_times_all_come(server, follow):
    """W-D11: what two instances say in the same nanosecond, even the same words, is two lines."""
    f = follow(server, "shop")
    sawlog.wait_for("connected", lambda: "Connected" in f.err)
    now = time.time_ns()
    for instance in (0, 1):
        push(server, "shop", [(now, "same"), (now, "same")], source=f"APP/PROC/WEB/{instance}")
    sawlog.wait_for("all of them", lambda: len(f.texts()) >= 4)
    for out in (f.out, logs(server, "shop", "--recent").stdout):
        assert [out.count(f"[APP/PROC/WEB/{i}] OUT same\n") for i in (0, 1)] == [2, 2]


def test_reorders(server, follow):
    """Lines of two instances that are stored out of order are printed by their times; 0s: as they are stored."""
    by_time, as_stored = follow(server, "shop", "--reorder", "2s"), follow(server, "shop", "--reorder=0s", name="raw")
    for f in (by_time, as_stored):
        sawlog.wait_for("connected", lambda f=f: "Connected" in f.err)
    now = time.time_ns()
    order = [5, 3, 4, 1, 2, 0]
    for i in order:
        push(server, "shop", [(now + i, f"line {i}")], source=f"APP/PROC/WEB/{i % 2}")
    sawlog.wait_for("all of them", lambda: len(as_stored.texts()) == len(order))
    assert as_stored.texts() == [f"line {i}" for i in order]
    sawlog.wait_for("by time", lambda: len(by_time.texts()) == len(order))
    assert by_time.texts() == [f"line {i}" for i in sorted(order)]
    # What waits is printed when the command ends.
    push(server, "shop", [(time.time_ns(), "last")])
    sawlog.wait_for("it came", lambda: as_stored.texts()[-1] == "last")
    time.sleep(0.2)
    assert by_time.kill(signal.SIGTERM) == 143
    assert by_time.texts()[-1] == "last"


def test_ends_with_its_reader(server):
    push(server, "shop", [(time.time_ns(), "hello")])
    child = subprocess.Popen([sawlog.SAWLOG, "logs", "shop", "--addr", server.url], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
    assert child.stdout.readline().endswith(b" OUT hello\n")
    child.stdout.close()
    assert child.wait(10) == 0


def test_on_a_terminal(server):
    """ERR is red, and what an application writes does not drive the terminal."""
    push(server, "shop", [(time.time_ns(), "\x1b]0;owned\x07 no")], err=True)
    master, slave = pty.openpty()
    child = subprocess.Popen([sawlog.SAWLOG, "logs", "shop", "--addr", server.url], stdout=slave, stderr=slave,
                             env={**os.environ, "TERM": "xterm", "NO_COLOR": ""})
    os.close(slave)
    seen, end = b"", time.monotonic() + sawlog.PATIENCE
    while b" no" not in seen and time.monotonic() < end:
        if select.select([master], [], [], 1)[0]:
            seen += os.read(master, 65536)
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == 130
    os.close(master)
    assert b"\x1b[31m" in seen and b"\\x1b]0;owned\\x07 no" in seen


def test_no_server():
    got = sawlog.run("logs", "shop", "--addr", "http://127.0.0.1:1")
    assert got.returncode == 69 and b"127.0.0.1" in got.stderr
    got = sawlog.run("logs", "shop", "--format", "2014")
    assert got.returncode == 2 and b"2013-10" in got.stderr


@pytest.mark.parametrize("command", [["logs", "shop"], ["tail", '{app="shop"}', "-o", "raw"]], ids=["logs", "tail"])
def test_joins_over_servers(nodes, command):
    """History and what comes meanwhile, of this server and of another one, each line once; over that one's restart."""
    one, two = (sawlog.Server(nodes.folder / name, name=name, config="{}\n") for name in ("one", "two"))
    one.config.write_text(f"peers: ['{two.url}']\n")
    child = sawlog.Process("follower", nodes.folder)
    sent, end = [], threading.Event()

    def send():
        while not end.is_set():
            n = len(sent)
            push((one, two)[n % 2], "shop", [(time.time_ns(), f"line {n}")])
            sent.append(n)

    def got():
        return [int(x) for x in re.findall(r"line (\d+)$", child.out, re.M)]

    try:
        one.start(), two.start()
        for n in range(40):
            sent.append(n)
            push((one, two)[n % 2], "shop", [(time.time_ns(), f"line {n}")])
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        child.spawn([sawlog.SAWLOG, *command, "--addr", one.url, "-n", "4000"], env=UTC)
        sawlog.wait_for("history and more", lambda: len(got()) > 100)
        end.set()
        sender.join()
        sawlog.wait_for("all of them", lambda: len(got()) >= len(sent))
        two.kill()
        two.start()
        push(two, "shop", [(time.time_ns(), f"line {len(sent)}")])
        sent.append(len(sent))
        sawlog.wait_for("after the restart", lambda: len(got()) >= len(sent))
        assert sorted(got()) == sent
        # This server itself away: it goes on by what it was told of both.
        one.kill()
        push(two, "shop", [(time.time_ns(), f"line {len(sent)}")])
        one.start()
        push(one, "shop", [(time.time_ns(), f"line {len(sent) + 1}")])
        sent += [len(sent), len(sent) + 1]
        sawlog.wait_for("after its own", lambda: len(got()) >= len(sent))
        assert sorted(got()) == sent
    finally:
        end.set()
        for p in (child, one, two):
            p.close()
