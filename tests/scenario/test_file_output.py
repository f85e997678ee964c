# SPDX-License-Identifier: Apache-2.0
"""The file output: paths, rotation as Python's handlers have it, and no line twice or missing after
kills -9."""
import gzip
import json
import logging
import logging.handlers
import os
import random
import re
import signal
import subprocess
import threading
import time
import urllib.error

import pytest
import sawlog


def seed():
    return int(os.environ.get("SEED", "0")) or int.from_bytes(os.urandom(4), "big")


def outputs(*settings):
    """A configuration with these file outputs, each a dict; YAML takes JSON."""
    return "outputs:\n" + "".join(f"  - file: {json.dumps({'start': 'begin', **s})}\n" for s in settings)


def content(path):
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def generations(path):
    """The text of a file and of its rotated ones, the oldest first.  A plain file beside its
    compressed one is what a kill between the last two steps leaves."""
    found = {}
    for p in path.parent.glob(path.name + "*"):
        m = re.fullmatch(r"(?:\.(\d+))?(\.gz)?", p.name[len(path.name):])
        if m:
            found.setdefault(int(m[1] or 0), []).append((bool(m[2]), p))
    text = ""
    for number in sorted(found, reverse=True):
        zipped, p = max(found[number])
        try:
            data = p.read_bytes()
        except FileNotFoundError:  # renamed while we look
            return ""
        text += (gzip.decompress(data) if zipped else data).decode()
    return text


def settled(path, lines):
    """The text of a file and of its rotated ones once it has so many lines, and is read twice alike:
    compressing goes on after the last line, and renames what one is about to read."""
    texts = [""]

    def alike():
        texts.append(generations(path))
        return texts[-1].count("\n") >= lines and texts[-1] == texts[-2]

    sawlog.wait_for(f"{path} has caught up", alike)
    return texts[-1]


def arrives(path, text, read=content):
    sawlog.wait_for(f"{path} has what it should", lambda: read(path) == text)


def test_a_file_for_each_app(nodes):
    logs = nodes.folder / "logs"
    server = nodes.server(config=outputs({"path": str(logs / "{{.app}}" / "%(level)s.log")}))
    server.push({"app": "a", "level": "x"}, ["one", "two"])
    server.push({"app": "../../../etc", "level": "/passwd"}, ["three"])
    server.push({"level": ".."}, ["four"])
    arrives(logs / "a" / "x.log", "one\ntwo\n")
    arrives(logs / "%2E.%2F..%2F..%2Fetc" / "%2Fpasswd.log", "three\n")
    arrives(logs / "~none" / "%2E..log", "four\n")
    assert sorted(p.name for p in nodes.folder.iterdir() if p.is_dir()) == ["data", "logs"]


def test_a_planted_link_leads_nowhere(nodes):
    logs, outside = nodes.folder / "logs", nodes.folder / "outside"
    for folder in (logs, outside):
        folder.mkdir()
    (logs / "a").symlink_to(outside)
    server = nodes.server(config=outputs({"path": str(logs / "{{.app}}" / "x.log")}))
    server.push({"app": "a"}, ["one"])
    sawlog.wait_for("it is told", lambda: "symbolic link" in server.err)
    assert list(outside.iterdir()) == []
    (logs / "a").unlink()
    arrives(logs / "a" / "x.log", "one\n")


def test_rotation_is_that_of_python(nodes):
    lines = [f"{'x' * (i * 7919 % 60)} line {i}" for i in range(500)]
    theirs, ours = nodes.folder / "theirs", nodes.folder / "ours"
    theirs.mkdir()
    handler = logging.handlers.RotatingFileHandler(theirs / "a.log", maxBytes=1000, backupCount=5)
    for line in lines:
        handler.emit(logging.makeLogRecord({"msg": line}))
    handler.close()
    server = nodes.server(config=outputs(
        {"path": str(ours / "a.log"), "rotate": {"size": "1000", "keep": 5}}))
    server.push({"app": "a"}, lines)
    arrives(ours / "a.log", content(theirs / "a.log"))

    def files(folder):
        return {p.name: p.read_text() for p in folder.iterdir()}

    assert files(ours) == files(theirs)
    assert len(files(ours)) == 6


def test_rotated_files_are_compressed(nodes):
    logs = nodes.folder / "logs"
    lines = [f"line {i}" for i in range(1000)]
    server = nodes.server(config=outputs(
        {"path": str(logs / "a.log"), "rotate": {"size": "1KiB", "keep": 100, "compress": "gzip"}}))
    server.push({"app": "a"}, lines)
    text = "".join(line + "\n" for line in lines)
    arrives(logs / "a.log", text, generations)
    sawlog.wait_for("all are compressed", lambda: [
        p.name for p in logs.iterdir() if not p.name.endswith(".gz")] == ["a.log"])
    assert generations(logs / "a.log") == text


def test_moved_away_by_others(nodes):
    logs = nodes.folder / "logs"
    server = nodes.server(config=outputs({"path": str(logs / "a.log")}))
    server.push({"app": "a"}, ["one"])
    arrives(logs / "a.log", "one\n")
    (logs / "a.log").rename(logs / "a.log-2026")
    server.push({"app": "a"}, ["two"])
    arrives(logs / "a.log", "two\n")
    (logs / "a.log").unlink()
    server.push({"app": "a"}, ["three"])
    arrives(logs / "a.log", "three\n")
    assert content(logs / "a.log-2026") == "one\n"


def test_text_beyond_ascii_and_no_forged_line(nodes):
    """W-A8: a message cannot begin a line; W-B6: what is not ASCII is not lost."""
    logs = nodes.folder / "logs"
    server = nodes.server(config=outputs({"path": str(logs / "{{.app}}.log"), "format": "%(name)s: %(message)s"}))
    server.push({"app": "caf\u00e9"}, ["na\u00efve \u2603\nroot: forged\r\x1b[2J"])
    sawlog.wait_for("it is written", lambda: content(logs / "caf\u00e9.log").endswith("\n"))
    text = (logs / "caf\u00e9.log").read_bytes().decode()
    assert text.startswith("caf\u00e9: na\u00efve \u2603\n\troot: forged")


def test_another_path_after_a_reload(nodes):
    logs = nodes.folder / "logs"
    server = nodes.server(config=outputs({"path": str(logs / "a.log")}))
    server.push({"app": "a"}, ["one"])
    arrives(logs / "a.log", "one\n")
    server.config.write_text(outputs({"path": str(logs / "b.log")}))
    server.child.send_signal(signal.SIGHUP)
    sawlog.wait_for("lines go to the new file", lambda: (
        server.push({"app": "a"}, ["two"]), content(logs / "b.log"))[1])
    sawlog.wait_for("all have arrived", lambda: content(logs / "a.log").count("\n") +
                    content(logs / "b.log").count("\n") == len(server.lines('{app="a"}')))
    assert content(logs / "b.log").startswith("two\n")


def test_the_example(nodes):
    logs = nodes.folder / "logs"
    config = (sawlog.ROOT / "examples" / "outputs.yaml").read_text()
    server = nodes.server(config=config.replace("/var/log/sawlog", str(logs)))
    server.push({"app": "shop", "logger": "shop.cart"}, ["ERROR order 1"])
    for name in ("shop.cart", "shop", "all"):
        arrives(logs / "python" / f"{name}.log", "ERROR order 1\n")
    sawlog.wait_for("the app's file", lambda: content(logs / "shop.log").endswith("[shop.cart] ERROR order 1\n"))
    sawlog.wait_for("the file of errors", lambda: content(logs / "errors.log").endswith("ERROR order 1\n"))


def test_hierarchy_and_consolidation(nodes):
    """As acrilog's HierarchicalTimedSizedRotatingHandler: A.B.C is written for A.B.C, A.B and A."""
    logs = nodes.folder / "logs"
    server = nodes.server(config=outputs(
        {"path": str(logs / "app.%(name)s.log"), "hierarchy": "logger", "consolidate": "all"}))
    server.push({"app": "x", "logger": "A.B.C"}, ["one"])
    server.push({"app": "x", "logger": "A.B"}, ["two"])
    server.push({"app": "x", "logger": "A"}, ["three"])
    for name, text in (("A.B.C", "one\n"), ("A.B", "one\ntwo\n"), ("A", "one\ntwo\nthree\n"),
                       ("all", "one\ntwo\nthree\n")):
        arrives(logs / f"app.{name}.log", text)
    assert len(list(logs.iterdir())) == 4


@pytest.mark.parametrize("settings, sentence", [
    ({"path": "/tmp/a.log", "rotate": {"size": "1MiB", "keep": 0}}, "keep must be at least 1"),
    ({"path": "/tmp/x/{{.app}}/../../etc"}, "below the root"),
    ({"path": "/tmp/x/{{.app}}", "rotate": {"size": "1MiB"}}, 'must end in text like ".log"'),
    ({"path": "/tmp/x/%(app)s.log", "root": "/var/log"}, "not below the root"),
    ({"path": "/tmp/a.log", "mode": "rw"}, "octal mode"),
    ({"path": "/tmp/a.log", "hierarchy": "logger"}, "needs a path with that label"),
])
def test_refused(nodes, settings, sentence):
    config = nodes.folder / "sawlog.yaml"
    config.write_text(outputs(settings))
    r = sawlog.run("serve", "-c", config, "--data", nodes.folder / "data", "--http", "127.0.0.1:0")
    assert r.returncode != 0
    assert sentence in r.stderr.decode()


def test_two_outputs_of_one_path_are_refused(nodes):
    config = nodes.folder / "sawlog.yaml"
    config.write_text(outputs({"name": "one", "path": "/tmp/x/{{.app}}.log"},
                              {"name": "two", "path": "/tmp//x/%(app)s.log", "root": "/tmp"}))
    r = sawlog.run("serve", "-c", config, "--data", nodes.folder / "data", "--http", "127.0.0.1:0")
    assert r.returncode != 0
    assert "both write to /tmp/x/{{.app}}.log" in r.stderr.decode()
    # The same folder by other names.
    real, link = nodes.folder / "real", nodes.folder / "link"
    real.mkdir()
    link.symlink_to(real)
    for folder in (link, f"{real}/.", f"{real}/../real", f"{link}/../link"):
        config.write_text(outputs({"name": "one", "path": f"{real}/new/x.log"},
                                  {"name": "two", "path": f"{folder}/new/x.log"}))
        r = sawlog.run("check", config)
        assert r.returncode != 0
        assert f"both write to {real.resolve()}/new/x.log" in r.stderr.decode()


class Pusher(threading.Thread):
    """Pushes lines, many of them alike, one request after the other."""

    def __init__(self, server, app, number):
        super().__init__(daemon=True)
        self.server, self.app, self.random = server, app, random.Random(number)
        self.sent, self.end = 0, False

    def run(self):
        while not self.end:
            lines = [self.random.choice(["tick", "tick tock", f"{self.app} {self.sent + i}"])
                     for i in range(self.random.randint(1, 100))]
            self.sent += len(lines)
            try:
                self.server.push({"app": self.app}, lines)
            except (OSError, urllib.error.URLError, ConnectionError):
                pass
            time.sleep(self.random.uniform(0, 0.02))


def campaign(nodes, kills, number, binary=sawlog.SAWLOG):
    """Kill the server again and again, then compare the files with what is stored.  Returns how many
    lines there were."""
    print(f"seed {number}")
    rng = random.Random(number)
    logs, apps = nodes.folder / "logs", ["a", "b", "c"]
    server = nodes.server(binary=binary, config="memory: 64MiB\n" + outputs(
        {"name": "plain", "path": str(logs / "plain" / "{{.app}}.log"), "fsync": "never"},
        {"name": "rotated", "path": str(logs / "rotated" / "{{.app}}.log"),
         "rotate": {"size": "2KiB", "keep": 999, "compress": "gzip"}}))
    pushers = [Pusher(server, app, number + i) for i, app in enumerate(apps)]
    for p in pushers:
        p.start()
    for _ in range(kills):
        before = sum(p.sent for p in pushers)
        sawlog.wait_for("lines are pushed", lambda: sum(p.sent for p in pushers) > before)
        time.sleep(rng.uniform(0.02, 0.5))
        server.kill(signal.SIGKILL)
        server.start()
    for p in pushers:
        p.end = True
        p.join(sawlog.PATIENCE)
    total = 0
    for app in apps:
        stored = server.lines(f'{{app="{app}"}}')
        for kind in ("plain", "rotated"):
            path = logs / kind / f"{app}.log"
            got = settled(path, len(stored)).splitlines()
            assert len(got) == len(stored), f"{path}: {len(got)} lines written, {len(stored)} stored"
            for i, (a, b) in enumerate(zip(got, stored)):
                assert a == b, f"{path}: line {i} written {a!r}, stored {b!r}"
        total += len(stored)
    return total


def test_kills_repeat_nothing_and_lose_nothing(nodes):
    """W-B7: files are outputs that go on where they were."""
    lines = campaign(nodes, 25, seed())
    print(f"{lines} lines")
    assert lines > 500


@pytest.mark.skipif(sawlog.SANITIZED, reason="the control needs the speed of a plain build")
def test_the_mutant_is_caught(nodes):
    """The positive control: a build that does not compare what is there with what comes again."""
    with pytest.raises(AssertionError, match="written"):
        campaign(nodes, 12, seed(), binary=sawlog.SAWLOG + "-mutant-output")
