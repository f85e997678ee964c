# SPDX-License-Identifier: Apache-2.0
"""How long records stay: by size, age and rule; deletions."""
import os
import random
import signal
import time
import urllib.parse

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
