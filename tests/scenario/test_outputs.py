# SPDX-License-Identifier: Apache-2.0
"""Outputs of the real server: delivery, orders, reloads, ends, kills and what retention takes."""
import json
import os
import random
import signal
import subprocess
import time

import pytest
import sawlog
from sawlog import wait_for

FILE = "  - file: {{name: {name}, path: {path}, match: '{match}'{more}}}\n"


def config(folder, *outputs, head=""):
    """outputs: (name, match, more settings)."""
    text = head + "outputs:\n"
    for name, match, more in outputs:
        text += FILE.format(name=name, path=folder / f"{name}.log", match=match, more=more)
    return text


def push(server, lines, app="a"):
    """As a client does: again while memory is full."""
    wait_for("the push", lambda: server.push({"app": app}, lines).status == 204)


def delivered(nodes, name):
    path = nodes.folder / f"{name}.log"
    return path.read_text().splitlines() if path.exists() else []


def cli(server, *args):
    done = subprocess.run([sawlog.SAWLOG, "output", *args], capture_output=True, text=True,
                          env={**os.environ, "SAWLOG_ADDR": server.url}, timeout=sawlog.PATIENCE)
    return done


def order(server, *args):
    done = cli(server, *args)
    assert done.returncode == 0, done.stderr


def status(server, name):
    done = cli(server, "list", "-o", "json")
    assert done.returncode == 0, done.stderr
    return next(o for o in json.loads(done.stdout) if o["name"] == name)


def rewrite(server, text):
    server.config.write_text(text)
    return server.call("POST", "/-/reload")


def numbered(first, n):
    return [f"line {i:06d}" for i in range(first, first + n)]


def test_match_and_order(nodes):
    """Each gets what it asks for, in the order of commits."""
    server = nodes.server(config=config(
        nodes.folder, ("all", "{}", ""), ("some", '{app="b"} |= "7"', "")))
    for i in range(20):
        push(server, numbered(i * 50, 50), app="ab"[i % 2])
    wait_for("all lines", lambda: len(delivered(nodes, "all")) == 1000)
    assert delivered(nodes, "all") == numbered(0, 1000)
    want = [line for i in range(1, 20, 2) for line in numbered(i * 50, 50) if "7" in line]
    wait_for("some lines", lambda: len(delivered(nodes, "some")) == len(want))
    assert delivered(nodes, "some") == want
    wait_for("it knows", lambda: status(server, "all")["behind"] == 0)
    assert 'sawlog_output_delivered_records_total{output="all"} 1000' in server.get("/metrics").text
    server.child.send_signal(signal.SIGUSR1)
    wait_for("the dump", lambda: "all (file) runs at 1000" in server.out)


def test_begin_and_severity(nodes):
    server = nodes.server()
    push(server, ["level=error one", "level=info two", "three"])
    server.stop()
    late = nodes.server(start=False, name="late", config=config(
        nodes.folder, ("new", "{}", ""), ("old", "{}", ", start: begin, min_severity: warn")))
    late.data = server.data
    late.start()
    push(late, ["level=warn four", "level=debug five"])
    wait_for("the old ones", lambda: delivered(nodes, "old") == [
        "level=error one", "three", "level=warn four"])
    wait_for("the new ones", lambda: delivered(nodes, "new") == ["level=warn four", "level=debug five"])


def test_orders(nodes):
    server = nodes.server(config=config(nodes.folder, ("x", "{}", "")))
    push(server, numbered(0, 10))
    wait_for("ten", lambda: len(delivered(nodes, "x")) == 10)
    order(server, "pause", "x")
    push(server, numbered(10, 10))
    wait_for("a backlog", lambda: status(server, "x")["behind"] == 10)
    assert status(server, "x")["state"] == "paused"
    server.stop()
    server.start()
    assert status(server, "x")["state"] == "paused"
    assert len(delivered(nodes, "x")) == 10
    order(server, "resume", "x")
    wait_for("twenty", lambda: delivered(nodes, "x") == numbered(0, 20))
    order(server, "rewind", "x", "--to", "seq:16")
    wait_for("five again", lambda: delivered(nodes, "x") == numbered(0, 20) + numbered(15, 5))
    order(server, "rewind", "x", "--to", "begin")
    wait_for("all again", lambda: len(delivered(nodes, "x")) == 45)
    order(server, "rewind", "x", "--to", "1h")
    wait_for("an hour again", lambda: len(delivered(nodes, "x")) == 65)
    order(server, "rewind", "x", "--to", "now")
    push(server, ["end"])
    wait_for("the end", lambda: delivered(nodes, "x")[65:] == ["end"])


def test_orders_that_make_no_sense(nodes):
    server = nodes.server(config=config(nodes.folder, ("x", "{}", "")))
    done = cli(server, "pause", "y")
    assert done.returncode != 0 and 'there is no output "y"; there is x' in done.stderr
    assert "--to" in cli(server, "rewind", "x").stderr
    assert "--to" in cli(server, "rewind", "x", "--to", "soonish").stderr
    assert "not there yet" in cli(server, "rewind", "x", "--to", "seq:99").stderr
    assert server.call("POST", "/api/v1/outputs/x/explode").status == 400
    assert server.call("POST", "/api/v1/outputs/x/rewind?to=never").status == 400
    assert cli(server, "list").stdout.splitlines()[1].split()[:3] == ["x", "file", "running"]


def test_reopen(nodes):
    server = nodes.server(config=config(nodes.folder, ("x", "{}", ", watch: false")))
    push(server, ["one"])
    wait_for("one", lambda: delivered(nodes, "x") == ["one"])

    def hang_up():
        server.child.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: "reloaded" in server.err)

    for i, again in enumerate((lambda: order(server, "reopen", "x"), hang_up)):
        (nodes.folder / "x.log").rename(nodes.folder / f"moved{i}.log")
        again()
        push(server, [f"behind {i}"])
        wait_for("the next", lambda: delivered(nodes, "x") == [f"behind {i}"])


def test_reload(nodes):
    """What changed begins where it was; what did not is not disturbed; a bad file changes nothing."""
    one, two = ("one", "{}", ""), ("two", '{app="a"}', "")
    server = nodes.server(config=config(nodes.folder, one))
    push(server, numbered(0, 5))
    wait_for("five", lambda: len(delivered(nodes, "one")) == 5)
    assert rewrite(server, config(nodes.folder, one, two)).status == 200
    push(server, numbered(5, 5))
    wait_for("both", lambda: delivered(nodes, "two") == numbered(5, 5))
    assert rewrite(server, config(nodes.folder, one, ("two", '{app="b"}', ""))).status == 200
    push(server, numbered(10, 5))
    push(server, numbered(15, 5), app="b")
    wait_for("the changed one", lambda: delivered(nodes, "two") == numbered(5, 5) + numbered(15, 5))
    answer = rewrite(server, config(nodes.folder, one, ("one", "{}", "")))
    assert answer.status == 400 and 'both called "one"' in answer.text
    answer = rewrite(server, config(nodes.folder, one, ("two", "rate({}[1m])", "")))
    assert answer.status == 400 and "log query" in answer.text
    (server.data / "outputs" / "three").write_text("where a folder should be")
    assert rewrite(server, config(nodes.folder, ("three", "{}", ""))).status == 400
    assert rewrite(server, config(nodes.folder, one)).status == 200
    push(server, numbered(20, 5), app="b")
    wait_for("all of one", lambda: delivered(nodes, "one") == numbered(0, 25))
    assert rewrite(server, config(nodes.folder, one, ("two", '{app="b"}', ""))).status == 200
    wait_for("it went on where it was", lambda: delivered(nodes, "two")[10:] == numbered(20, 5))


def test_check(tmp_path):
    def check(text):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        done = subprocess.run([sawlog.SAWLOG, "check", path], capture_output=True, text=True,
                              timeout=sawlog.PATIENCE)
        return done.returncode, done.stdout + done.stderr

    assert check(config(tmp_path, ("x", "{}", "")))[0] == 0
    code, text = check(config(tmp_path, ("x", "{}", ""), ("x", '{app="b"}', "")))
    assert code == 78 and "line 2 and line 3" in text
    code, text = check(config(tmp_path, ("../x", "{}", "")))
    assert code == 78 and "name" in text
    code, text = check(config(tmp_path, ("x", "{app=", "")))
    assert code == 78 and "parse error" in text
    code, text = check("outputs:\n  - fiel: {path: /tmp/x}\n")
    assert code == 78 and "file" in text


def test_a_dead_one_holds_up_nobody(nodes):
    """One whose folder cannot be made fails, tells, and is well again when it can be."""
    (nodes.folder / "blocked").write_text("a file, where a folder should be")
    server = nodes.server(config=config(nodes.folder, ("well", "{}", ""), ("blocked/dead", "{}", ""))
                          .replace("name: blocked/dead", "name: dead"))
    began = time.monotonic()
    for i in range(20):
        push(server, numbered(i * 500, 500))
    took = time.monotonic() - began
    wait_for("the other has all", lambda: len(delivered(nodes, "well")) == 10000)
    wait_for("it tells", lambda: status(server, "dead")["state"] == "failing")
    dead = status(server, "dead")
    assert dead["behind"] == 10000 and dead["error"] and dead["retry"]
    assert dead["behind_seconds"] > 0
    wait_for("the other knows", lambda: status(server, "well")["behind"] == 0)
    metrics = server.get("/metrics").text
    assert 'sawlog_output_lag_records{output="dead"} 10000' in metrics
    assert 'sawlog_output_lag_records{output="well"} 0' in metrics
    assert took < sawlog.PATIENCE
    # And with one dead the end still comes in time.
    began = time.monotonic()
    assert server.stop() == 0, server.err
    assert time.monotonic() - began < 10
    server.start()
    (nodes.folder / "blocked").unlink()
    order(server, "resume", "dead")
    wait_for("the dead one has all", lambda: len(delivered(nodes, "blocked/dead")) == 10000)
    assert delivered(nodes, "blocked/dead") == numbered(0, 10000)


def test_the_end_delivers(nodes):
    """What was acknowledged before SIGTERM is in the file after it."""
    server = nodes.server(config=config(nodes.folder, ("x", "{}", "")))
    for i in range(10):
        push(server, numbered(i * 100, 100))
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 10
    assert delivered(nodes, "x") == numbered(0, 1000)


@pytest.mark.parametrize("seed", range(3))
def test_kill(nodes, seed):
    """Kills at any moment: everything acknowledged is delivered, in order."""
    rng = random.Random(seed)
    server = nodes.server(config=config(nodes.folder, ("x", "{}", "")))
    sent = 0
    for _ in range(4):
        end = time.monotonic() + rng.uniform(.05, 1.2)
        while time.monotonic() < end:
            push(server, numbered(sent, 50))
            sent += 50
        server.kill()
        server.start()
    push(server, ["the end"])
    wait_for("the end", lambda: delivered(nodes, "x")[-1:] == ["the end"])
    lines = delivered(nodes, "x")[:-1]
    assert sorted(set(lines)) == numbered(0, sent)
    # Repeats are runs that begin anew: after each line comes its successor, or an earlier one.
    for before, after in zip(lines, lines[1:]):
        assert int(after[5:]) <= int(before[5:]) + 1


def test_what_retention_took(nodes):
    """A paused one loses what retention takes; that is counted and told, and the rest is delivered."""
    server = nodes.server(config=config(
        nodes.folder, ("x", "{}", ""), head="memory: 64MiB\nretention: {size: 16MiB}\n"))
    order(server, "pause", "x")
    rng = random.Random(1)
    sent = 0
    for _ in range(40):
        push(server, [f"{sent + k:06d} {rng.randbytes(500).hex()}" for k in range(1000)])
        sent += 1000
    assert server.call("POST", "/-/flush").status == 200
    wait_for("something is missed", lambda: status(server, "x")["missed"] > 0, 60)
    assert server.call("POST", "/api/v1/store/settle").status == 200
    order(server, "resume", "x")
    wait_for("it has caught up", lambda: status(server, "x")["behind"] == 0, 60)
    got = [int(line[:6]) for line in delivered(nodes, "x")]
    missed = status(server, "x")["missed"]
    assert got == list(range(sent - len(got), sent))
    assert missed == sent - len(got)
    assert f'sawlog_output_missed_records_total{{output="x"}} {missed}' in server.get("/metrics").text
    assert "retention took up to" in server.err
