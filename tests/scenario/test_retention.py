# SPDX-License-Identifier: Apache-2.0
"""How long records stay: by size, age and rule; deletions."""
import json
import os
import random
import shutil
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path

import pytest
import sawlog

DAY = 86400 * 10**9


def delete(server, query, tenant=None, **times):
    headers = {"X-Scope-OrgID": tenant} if tenant else {}
    params = urllib.parse.urlencode({"query": query, **times})
    return server.call("POST", "/loki/api/v1/delete?" + params, headers=headers)


def push(server, labels, rows):
    """As a client does: again while memory is full."""
    sawlog.wait_for("the push", lambda: server.push(labels, rows).status == 204)


def deletions(server, tenant=None):
    headers = {"X-Scope-OrgID": tenant} if tenant else {}
    return server.get("/loki/api/v1/delete", headers=headers).json()


def settle(server):
    assert server.call("POST", "/-/flush").status == 200
    return server.call("POST", "/api/v1/store/settle").status == 200


def bytes_on_disk(folder):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(folder) for f in files)


def found_on_disk(folder, needle):
    """Journal and everything that is not packed."""
    for d, _, files in os.walk(folder):
        for f in files:
            with open(os.path.join(d, f), "rb") as file:
                if needle in file.read() and not f.startswith("DELETIONS"):
                    return os.path.join(d, f)
    return None


def test_size(nodes):
    """The oldest go, the newest stay, and a restart changes nothing."""
    server = nodes.server(config="memory: 64MiB\nretention: {size: 24MiB}\n")
    rng = random.Random(1)
    sent = 0
    for i in range(60):
        rows = ["%06d %s" % (sent + k, rng.randbytes(500).hex()) for k in range(1000)]
        push(server, {"app": "a"}, rows)
        sent += 1000
    settle(server)
    sawlog.wait_for("the disk follows", lambda: bytes_on_disk(server.data) < 30 << 20)
    assert server.metric("sawlog_retention_dropped_records_total", reason="size") > 0
    assert "retention (size" in server.err
    kept = [int(x[:6]) for x in server.lines('{app="a"}')]
    assert kept == list(range(sent - len(kept), sent)) and 5000 < len(kept) < sent
    server.kill()
    server.start()
    again = [int(x[:6]) for x in server.lines('{app="a"}')]
    assert again[-1] == sent - 1 and set(again) <= set(kept)


def test_age_and_rules(nodes):
    rules = "retention: {age: 10d, rules: [{match: '{app=\"debug\"}', age: 1d}, {match: '{app=\"audit\"}', age: 100d}]}\n"
    server = nodes.server(config="")
    now = time.time_ns()
    for app in ("web", "debug", "audit"):
        assert server.push({"app": app}, [(now - d * DAY, f"{d}") for d in (0, 2, 20, 200)]).status == 204
    assert len(server.lines('{app=~".+"}')) == 12
    server.stop()
    server.config.write_text(rules)
    server.start()
    want = {"web": ["2", "0"], "debug": ["0"], "audit": ["20", "2", "0"]}
    for app, rows in want.items():
        assert server.lines('{app="%s"}' % app) == rows
    # What is too old is refused and told; the rest of the push is kept.
    answer = server.push({"app": "debug"}, [(now - 3 * DAY, "late"), (now, "fresh")])
    assert answer.status == 400 and "older than the retention" in answer.text, answer.text
    assert server.lines('{app="debug"}') == ["0", "fresh"]
    assert server.metric("sawlog_rejected_records_total", reason="too_old") == 1
    # A reload changes it.
    server.config.write_text(rules.replace("10d", "1d"))
    server.child.send_signal(signal.SIGHUP)
    sawlog.wait_for("the reload", lambda: server.lines('{app="web"}') == ["0"])


def test_check_names_the_place(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("retention:\n  size: 90q\n  rules:\n    - {match: '{app=\"a\"} |= \"x\"', age: 2d}\n    - {match: '{app=', age: 2d}\n")
    r = sawlog.run("check", str(config))
    text = r.stderr.decode()
    assert r.returncode != 0
    for place in ("c.yaml:2:9: retention.size", "c.yaml:4:15: retention.rules.match", "c.yaml:5:15: retention.rules.match"):
        assert place in text, text


def test_delete_hides_at_once_and_can_be_taken_back(nodes):
    server = nodes.server()
    server.push({"app": "a"}, ["one", "two secret", "three"])
    server.push({"app": "a"}, ["secret of others"], tenant="b")
    assert delete(server, '{app="a"} | json').status == 400
    assert delete(server, "").status == 400
    assert delete(server, '{app="a"} |= "secret"').status == 204
    assert server.lines('{app="a"}') == ["one", "three"]
    assert server.lines('{app="a"}', tenant="b") == ["secret of others"]
    server.push({"app": "a"}, ["a newer secret"])
    want = ["one", "three", "a newer secret"]
    for how in ("flush", "restart", "kill"):
        if how == "flush":
            server.call("POST", "/-/flush")
        elif how == "restart":
            server.stop()
            server.start()
        else:
            server.kill()
            server.start()
        assert server.lines('{app="a"}') == want, how
    assert deletions(server, tenant="b") == []
    [d] = deletions(server)
    assert d["status"] == "received" and d["query"] == '{app="a"} |= "secret"'
    path = "/loki/api/v1/delete?request_id=" + d["request_id"]
    assert server.call("DELETE", path, headers={"X-Scope-OrgID": "b"}).status == 404
    assert server.call("DELETE", path).status == 204
    assert deletions(server) == []
    assert server.lines('{app="a"}') == ["one", "two secret", "three", "a newer secret"]


def test_delete_frees_the_disk(nodes):
    server = nodes.server(config="memory: 64MiB\nretention: {delete_wait: 0s}\n")
    rng = random.Random(2)
    for i in range(20):
        push(server, {"app": "big"}, [rng.randbytes(500).hex() for _ in range(500)])
        server.push({"app": "small"}, [f"line {i}"])
    server.push({"app": "small"}, ["password hunter2hunter2"])
    settle(server)
    before = bytes_on_disk(server.data / "parts")
    assert delete(server, '{app="big"}').status == 204
    assert delete(server, '{app="small"} |= "hunter2"').status == 204
    assert server.lines('{app="big"}') == []
    settle(server)
    sawlog.wait_for("both are carried out",
                    lambda: settle(server) and [d["status"] for d in deletions(server)] == ["processed"] * 2)
    assert bytes_on_disk(server.data / "parts") < before / 10
    assert found_on_disk(server.data, b"hunter2") is None
    server.kill()
    server.start()
    assert server.lines('{app="small"}') == [f"line {i}" for i in range(20)]
    [first, _] = deletions(server)
    answer = server.call("DELETE", "/loki/api/v1/delete?request_id=" + first["request_id"])
    assert answer.status == 400, answer.text


def stats(server):
    """The rows of `store stats` that are of retention."""
    r = sawlog.run("store", "stats", "--data", server.data, "-o", "jsonl", "-n", 0)
    assert r.returncode == 0, r.stderr
    rows = [json.loads(line) for line in r.stdout.splitlines()]
    return [x for x in rows if x["of"] == "retention"], [x for x in rows if x["of"] == "due"]


def test_age_gives_bytes_back(nodes):
    """W-C2: what is older than ten days is gone from answers and from the disk, and its bytes are free again."""
    server = nodes.server(config="memory: 64MiB\n")
    rng = random.Random(3)
    now = time.time_ns()
    for day in (0, 5, 11, 20, 21):
        for k in range(4):
            start = now - day * DAY + k * 10**6
            push(server, {"app": "ServiceA"}, [(start + i, rng.randbytes(400).hex()) for i in range(500)])
        settle(server)
    before = bytes_on_disk(server.data / "parts")
    server.stop()
    server.config.write_text("memory: 64MiB\nretention: {age: 10d}\n")
    server.start()
    assert len(server.lines('{app="ServiceA"}')) == 4000
    settle(server)
    sawlog.wait_for("the disk follows", lambda: bytes_on_disk(server.data / "parts") < before * 0.5)
    assert len(server.lines('{app="ServiceA"}')) == 4000
    dropped = server.metric("sawlog_retention_dropped_records_total", reason="age")
    assert dropped + server.metric("sawlog_cleaned_records_total") == 6000
    given = server.metric("sawlog_retention_dropped_bytes_total", reason="age") + server.metric("sawlog_cleaned_bytes_total")
    assert given > before * 0.4
    assert server.metric("sawlog_oldest_record_timestamp_seconds") >= now // 10**9 - 5 * 86400 - 1
    server.kill()
    server.start()
    assert len(server.lines('{app="ServiceA"}')) == 4000


def test_rules_give_bytes_back(nodes):
    """Streams of one part with different ages: the part is written anew without what is too old."""
    server = nodes.server(config="memory: 64MiB\n")
    rng = random.Random(4)
    now = time.time_ns()
    for k in range(4):
        for app in ("debug", "audit"):
            push(server, {"app": app}, [(now - 3 * DAY + k * 10**6 + i, rng.randbytes(400).hex()) for i in range(500)])
    settle(server)
    before = bytes_on_disk(server.data / "parts")
    server.config.write_text("memory: 64MiB\nretention: {age: 30d, rules: [{match: '{app=\"debug\"}', age: 2d}]}\n")
    server.child.send_signal(signal.SIGHUP)
    sawlog.wait_for("the disk follows", lambda: settle(server) and bytes_on_disk(server.data / "parts") < before * 0.6)
    assert server.metric("sawlog_cleaned_records_total") == 2000
    assert server.lines('{app="debug"}') == [] and len(server.lines('{app="audit"}')) == 2000


def test_stats_say_what_will_go_when(nodes):
    server = nodes.server(config="memory: 64MiB\nretention: {age: 30d, size: 40MiB, rules: [{match: '{app=\"debug\"}', age: 2d}]}\n")
    rng = random.Random(5)
    now = time.time_ns()
    for day in (1, 0):
        for app in ("debug", "web"):
            push(server, {"app": app}, [(now - day * DAY + i, rng.randbytes(500).hex()) for i in range(1000)])
        assert server.call("POST", "/-/flush").status == 200

    def near(text, ns):
        got = time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        return abs(got - ns / 10**9) < 5

    rules, days = stats(server)
    debug, age, size = rules
    assert (debug["kind"], debug["name"], debug["records"]) == ("rule", '{app="debug"} 2d', 2000)
    assert near(debug["oldest"], now - DAY) and near(debug["next"], now + DAY)
    assert (age["kind"], age["name"], age["records"]) == ("age", "age 30d", 2000)
    assert near(age["next"], now + 29 * DAY)
    assert (size["kind"], size["limit"], size["records"]) == ("size", 40 << 20, 4000)
    # As much came in one day as is stored in parts; so long until the rest is full.
    room = size["limit"] - size["stored"]
    assert size["bytes_a_day"] > 0 and near(size["next"], now + room / size["bytes_a_day"] * DAY)
    by_day = {(d["name"], d["by"]): d for d in days}
    today, yesterday = [time.strftime("%Y-%m-%d", time.gmtime((now - k * DAY) / 10**9)) for k in (0, 1)]
    assert near(by_day[yesterday, '{app="debug"} 2d']["gone"], now + DAY)
    assert near(by_day[today, '{app="debug"} 2d']["gone"], now + 2 * DAY)
    assert sum(d["records"] for d in days) == 4000
    # The others go by size, long before they are 30 days old.
    assert by_day[yesterday, "size 40.0 MiB"]["gone"] <= by_day[today, "size 40.0 MiB"]["gone"]
    text = sawlog.run("store", "stats", "--data", server.data).stdout.decode()
    assert '{app="debug"} 2d' in text and "a day come at present" in text and "NEXT GOES" in text, text


def test_stats_without_rules(nodes):
    """No limit: nothing goes; and a store that no server was told anything of has nothing to say."""
    server = nodes.server(config="retention: {size: 0}\n")
    server.push({"app": "a"}, ["one"])
    server.call("POST", "/-/flush")
    rules, days = stats(server)
    assert [(r["kind"], r["next"]) for r in rules] == [("never", None), ("size", None)]
    assert [(d["gone"], d["records"]) for d in days] == [(None, 1)]
    (server.data / "RETENTION").unlink()
    assert stats(server) == ([], [])
    (server.data / "RETENTION").write_bytes(b"not it")
    r = sawlog.run("store", "stats", "--data", server.data)
    assert r.returncode == 74 and b"RETENTION: bad checksum" in r.stderr, r.stderr
    r = sawlog.run("store", "verify", "--data", server.data)
    assert r.returncode == 1 and b"the next start of the server writes it anew" in r.stdout, r.stdout
    server.stop()
    server.start()
    assert sawlog.run("store", "verify", "--data", server.data).returncode == 0 and len(stats(server)[0]) == 2


@pytest.fixture
def clock(tmp_path):
    """Environment in which the wall clock is ahead by what stands in a file, in seconds."""
    if sawlog.SANITIZED:
        pytest.skip("a sanitizer wants to be loaded first")
    if not shutil.which("cc"):
        pytest.skip("no compiler")
    shim, file = tmp_path / "clock.so", tmp_path / "ahead"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, Path(__file__).with_name("jump_clock.c")], check=True)

    class Clock:
        env = {"LD_PRELOAD": str(shim), "AHEAD_FILE": str(file)}

        def ahead(self, seconds):
            temporary = file.with_suffix(".tmp")
            temporary.write_text(str(int(seconds)))
            temporary.rename(file)

    c = Clock()
    c.ahead(0)
    return c


def test_a_clock_that_jumps_deletes_nothing(nodes, clock):
    """Ahead by years and back, while the server runs and while it is down."""
    server = nodes.server(config="retention: {age: 10d}\n", env=clock.env)
    server.push({"app": "a"}, [f"line {i}" for i in range(100)])
    settle(server)
    parts = sorted(os.listdir(server.data / "parts"))
    for seconds in (400 * 86400, 0, -400 * 86400, 0):
        clock.ahead(seconds)
        sawlog.wait_for("it is seen", lambda: server.metric("sawlog_retention_clock_ahead") == (seconds > 0))
        settle(server)
        assert len(server.lines('{app="a"}', since="", start="1", end=str(2**62))) == 100, seconds
    clock.ahead(400 * 86400)
    for how in (server.stop, server.kill):
        how()
        server.start()
        settle(server)
        assert len(server.lines('{app="a"}', since="", start="1", end=str(2**62))) == 100, how
    assert "the clock went ahead" in server.err
    assert sorted(os.listdir(server.data / "parts")) == parts
    assert server.metric("sawlog_retention_dropped_records_total") == 0
