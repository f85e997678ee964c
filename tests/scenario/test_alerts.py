# SPDX-License-Identifier: Apache-2.0
"""Alerts from lines to their states: the real binary evaluates rules and shows them, over restarts and reloads."""
import json
import time

import pytest
from sawlog import wait_for


def config(alerts, **more):
    """JSON is YAML."""
    return json.dumps({"alerts": alerts, **more})


def rules(*these, name="g", interval="1s"):
    return json.dumps({"groups": [{"name": name, "interval": interval, "rules": list(these)}]})


def alerts(server, tenant=None):
    headers = {"X-Scope-OrgID": tenant} if tenant else {}
    answer = server.get("/api/v1/alerts", headers=headers).json()
    assert answer["status"] == "success"
    return answer["data"]["alerts"]


def named(server, name, state=None):
    return [a for a in alerts(server) if a["labels"]["alertname"] == name and state in (None, a["state"])]


def rule(server, name):
    (found,) = [r for g in server.get("/api/v1/rules").json()["data"]["groups"] for r in g["rules"]
                if r["name"] == name]
    return found


def told(server, state, name):
    """Records of the stream notifier."""
    return [line for _, line, _ in server.entries('{app="alerts"}')
            if line.startswith(f"{state} alertname={name} ")]


def evaluated_after(server, name, before):
    return wait_for("an evaluation", lambda: rule(server, name)["lastEvaluation"] > before
                    and rule(server, name))


def test_ten_errors_within_a_minute_fire(nodes):
    """W-C1: the rule of the original compared "Error" with "error" and never fired."""
    server = nodes.server(config=config({
        "interval": "1s", "ready": [{"errors": {"labels": {"team": "shop"}}}],
        "notify": [{"stream": {"group_wait": "0s"}}]}))
    say = lambda app, severity, n: server.push({"app": app}, [  # noqa: E731
        (time.time_ns(), f"disk {i} is looked at", {"severity": severity}) for i in range(n)])
    say("ServiceA", "Error", 9)
    say("ServiceA", "Info", 20)
    evaluated_after(server, "errors", wait_for("it is evaluated", lambda: (
        rule(server, "errors")["health"] == "ok" and rule(server, "errors")["lastEvaluation"])))
    assert alerts(server) == []
    say("ServiceB", "Error", 1)
    (alert,) = wait_for("it fires", lambda: named(server, "errors", "firing"))
    assert alert["labels"] == {"alertname": "errors", "severity": "warning", "team": "shop"}
    assert alert["annotations"]["summary"] == "10 errors in the last 1m"
    assert alert["value"] == "1e+01" and alert["activeAt"].endswith("Z")
    (line,) = wait_for("it is told", lambda: told(server, "firing", "errors"))
    assert "10 errors in the last 1m" in line
    assert 'sawlog_alerts{state="firing"} 1' in server.get("/metrics").text
    # Loki's and Prometheus' paths say the same.
    assert server.get("/prometheus/api/v1/alerts").json()["data"]["alerts"] == named(server, "errors")


def test_each_episode_is_told_once(nodes):
    """W-C1: however often it is evaluated and whatever comes in between, once when it fires and once when it ends."""
    server = nodes.server(config=config({
        "interval": "1s", "ready": [{"errors": {"window": "8s"}}], "notify": [{"stream": {"group_wait": "0s"}}]}))
    say = lambda: server.push({"app": "a"}, [  # noqa: E731
        (time.time_ns(), f"line {i}", {"severity": "Error"}) for i in range(12)])
    for episode in (1, 2):
        say()
        wait_for("it fires", lambda: len(told(server, "firing", "errors")) == episode)
        say()
        wait_for("it ends", lambda: len(told(server, "resolved", "errors")) == episode)
    assert len(told(server, "firing", "errors")) == len(told(server, "resolved", "errors")) == 2


def test_tenants_do_not_see_each_other(nodes):
    """Neither rules nor alerts, silences, records nor metrics of one tell another anything."""
    server = nodes.server(config=config({"interval": "1s", "notify": [{"stream": {"group_wait": "0s"}}]}))
    a, b = {"X-Scope-OrgID": "a"}, {"X-Scope-OrgID": "b"}
    group = rules({"alert": "SecretOfA", "expr": 'sum by (secret) (count_over_time({secret=~".+"}[1h])) > 0'}, interval="1s")
    group = json.dumps(json.loads(group)["groups"][0])
    assert server.call("POST", "/loki/api/v1/rules/spaceOfA", group.encode(), a).status == 202
    server.push({"app": "x", "secret": "SecretOfA"}, ["one"], tenant="a")
    server.push({"app": "x", "secret": "other"}, ["one"], tenant="b")
    wait_for("it fires", lambda: [x for x in alerts(server, "a") if x["state"] == "firing"])
    wait_for("it is told", lambda: server.lines('{app="alerts"}', tenant="a"))
    silence = json.dumps({"matchers": [{"name": "secret", "value": "SecretOfA"}], "comment": "SecretOfA",
                          "endsAt": "2099-01-01T00:00:00Z"}).encode()
    # One of b silences nothing of a.
    assert server.call("POST", "/api/v1/silences", silence.replace(b"SecretOfA", b"Secret0fA"), b).status == 200
    assert server.call("POST", "/api/v1/silences", json.dumps({"matchers": [
        {"name": "secret", "value": ".+", "isRegex": True}], "endsAt": "2099-01-01T00:00:00Z"}).encode(), b).status == 200
    assert "silenced" not in alerts(server, "a")[0]
    made = server.call("POST", "/api/v1/silences", silence, a)
    assert made.status == 200
    assert alerts(server, "a")[0]["silenced"] is True
    id = made.json()["silenceID"]
    for path in ("/prometheus/api/v1/rules", "/prometheus/api/v1/alerts", "/api/v1/rules", "/api/v1/alerts", "/api/v1/silences",
                 "/loki/api/v1/rules", "/loki/api/v1/rules/spaceOfA", "/loki/api/v1/rules/spaceOfA/g", f"/api/v1/silences/{id}",
                 "/metrics", "/api/v1/notifiers", "/services", "/loki/api/v1/labels", "/api/v1/outputs"):
        for who in (b, {}):
            text = server.get(path, headers=who).text
            assert "SecretOfA" not in text and "spaceOfA" not in text, (path, who, text)
    for who in (b, {}):
        assert server.call("DELETE", f"/api/v1/silences/{id}", headers=who).status == 404
        assert server.call("DELETE", "/loki/api/v1/rules/spaceOfA", headers=who).status == 404
    assert server.lines('{app="alerts"}', tenant="b") == server.lines('{app="alerts"}') == []
    assert "SecretOfA" in server.get("/loki/api/v1/rules", headers=a).text


def test_more_series_than_alerts(nodes):
    """Of many series those count that the rule lets through; one that lets through too many says so, and its neighbours
    go on."""
    (nodes.folder / "rules.json").write_text(rules(
        {"alert": "Loud", "expr": 'sum by (id) (count_over_time({app="m"} | logfmt [1h])) > 1'},
        {"alert": "All", "expr": 'sum by (id) (count_over_time({app="m"} | logfmt [1h])) > 0'},
        {"alert": "Sum", "expr": 'sum(count_over_time({app="m"}[1h])) > 0'}))
    server = nodes.server(config=config({"groups_file": "rules.json"}))
    server.push({"app": "m"}, [f"id=u{i}" for i in [*range(5001), 17]])
    (one,) = wait_for("one fires", lambda: named(server, "Loud", "firing"))
    assert one["labels"]["id"] == "u17" and one["value"] == "2e+00"
    wait_for("the neighbour fires", lambda: named(server, "Sum", "firing"))
    wait_for("it is said", lambda: rule(server, "All")["health"] == "err")
    assert "5000" in rule(server, "All")["lastError"] and rule(server, "Loud")["health"] == "ok"


def test_files_of_rules(nodes):
    (nodes.folder / "rules.json").write_text(rules(
        {"alert": "Waits", "expr": 'sum by (app) (count_over_time({app=~"a|b"}[1h])) > 1', "for": "3s",
         "keep_firing_for": "1h", "labels": {"severity": "page", "who": "team-{{ $labels.app }}"},
         "annotations": {"summary": "{{ $labels.app }} has {{ $value | humanize }} lines",
                         "broken": "{{ .Labels.app | parseDuration }}"}},
        {"record": "lines:rate", "expr": 'sum(rate({app="a"}[1m]))', "labels": {"x": "y"}},
        {"alert": "Ends", "expr": 'sum(count_over_time({app="a"}[3s])) > 0'}))
    server = nodes.server(config=config({"groups_file": "rules.json"}))
    server.push({"app": "a"}, ["one", "two"])
    server.push({"app": "b"}, ["one"])
    (pending,) = wait_for("it pends", lambda: named(server, "Waits", "pending"))
    (firing,) = wait_for("it fires", lambda: named(server, "Waits", "firing"))
    assert firing["activeAt"] == pending["activeAt"]
    assert firing["labels"] == {"alertname": "Waits", "app": "a", "severity": "page", "who": "team-a"}
    assert firing["annotations"]["summary"] == "a has 2 lines"
    assert firing["annotations"]["broken"].startswith("<error expanding template: ")
    wait_for("the other has ended", lambda: not named(server, "Ends"))
    got = rule(server, "Waits")
    assert (got["state"], got["health"], got["lastError"], got["duration"], got["keepFiringFor"]) == \
        ("firing", "ok", "", 3, 3600)
    assert got["alerts"] == [firing] and got["type"] == "alerting" and got["evaluationTime"] > 0
    record = rule(server, "lines:rate")
    assert record["health"] == "unknown" and "not evaluated" in record["lastError"]
    (group,) = server.get("/api/v1/rules").json()["data"]["groups"]
    assert group["file"] == str(nodes.folder / "rules.json") and group["interval"] == 1
    # With the rule gone the alert is no more, and a new rule is watched.
    (nodes.folder / "rules.json").write_text(rules({"alert": "Other", "expr": 'sum(count_over_time({app="a"}[1h])) > 0'}))
    assert server.call("POST", "/-/reload").status == 200
    wait_for("the new one fires", lambda: named(server, "Other", "firing"))
    assert named(server, "Waits") == []
    # What is wrong is refused, and the old ones stay.
    (nodes.folder / "rules.json").write_text(rules({"alert": "Bad", "expr": "rate("}))
    answer = server.call("POST", "/-/reload")
    assert answer.status >= 400 and "rules.json: line 1" in answer.text and "parse error" in answer.text
    assert named(server, "Other", "firing")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_keeps_states(nodes, end):
    server = nodes.server(config=config({
        "groups_file": "r.json", "notify": [{"stream": {"group_wait": "0s"}}]}), start=False)
    (nodes.folder / "r.json").write_text(rules(
        {"alert": "Fires", "expr": 'sum by (app) (count_over_time({app="a"}[1h])) > 0'},
        {"alert": "Waits", "expr": 'sum by (app) (count_over_time({app="a"}[1h])) > 0', "for": "1h"}))
    server.start()
    server.push({"app": "a"}, ["one"])
    wait_for("both are there", lambda: named(server, "Fires", "firing") and named(server, "Waits", "pending"))
    wait_for("it is told", lambda: told(server, "firing", "Fires"))
    wait_for("both are saved", lambda: '"Waits"' in (server.data / "alerts/states.json").read_text())
    # Killed before, it would be told twice.
    wait_for("what was told is saved", lambda: '"told":"firing"' in
             (server.data / "alerts/notified-stream.json").read_text().replace(" ", ""))
    before = {a["labels"]["alertname"]: a["activeAt"] for a in alerts(server)}
    getattr(server, end)()
    server.start()
    at_once = {a["labels"]["alertname"]: a["activeAt"] for a in alerts(server)}
    assert at_once == before
    evaluated_after(server, "Fires", wait_for("an evaluation", lambda: (
        rule(server, "Fires")["health"] == "ok" and rule(server, "Fires")["lastEvaluation"])))
    assert {a["labels"]["alertname"]: a["activeAt"] for a in alerts(server)} == before
    # What was told is not told again.
    assert len(told(server, "firing", "Fires")) == 1


def test_rules_of_the_api(server):
    text = ("name: g\ninterval: 1s\nrules:\n- alert: A\n  expr: sum(count_over_time({app=\"a\"}[1h])) > 0\n"
            "- alert: Much\n  expr: count_over_time({app=\"a\"} | regexp `(?P<n>[0-9]+)` [1h])\n")
    put = lambda tenant: server.call("POST", "/loki/api/v1/rules/space", text.encode(),  # noqa: E731
                                     {"Content-Type": "application/yaml", "X-Scope-OrgID": tenant})
    assert put("t").status == 202
    server.push({"app": "a"}, [f"line {i}" for i in range(6000)], tenant="t")
    (alert,) = wait_for("it fires", lambda: [a for a in alerts(server, "t") if a["labels"]["alertname"] == "A"])
    assert alert["state"] == "firing" and alerts(server) == []
    # One that has too many series says so.
    rules_of = lambda: server.get("/api/v1/rules", headers={"X-Scope-OrgID": "t"}).json()["data"]["groups"]  # noqa: E731
    much = wait_for("it fails", lambda: [r for r in rules_of()[0]["rules"] if r["health"] == "err"])
    assert much[0]["name"] == "Much" and "series" in much[0]["lastError"]
    assert 'sawlog_rule_evaluations_total{result="error"}' in server.get("/metrics").text
    bad = text.replace("> 0", "> 0\n  annotations: {s: '{{ nothing }}'}")
    answer = server.call("POST", "/loki/api/v1/rules/space", bad.encode(), {"Content-Type": "application/yaml"})
    assert answer.status == 400 and 'function "nothing" not defined' in answer.text
    assert server.call("DELETE", "/loki/api/v1/rules/space", headers={"X-Scope-OrgID": "t"}).status == 202
    assert alerts(server, "t") == []


def test_absent_and_back(nodes):
    server = nodes.server(config=config({"interval": "1s", "ready": [{"absent": {"for": "3s", "seen": "1h"}}]}))
    server.push({"app": "a"}, ["x"])
    (alert,) = wait_for("it is missed", lambda: named(server, "absent", "firing"))
    assert alert["labels"]["app"] == "a"
    assert alert["annotations"]["summary"] == "no line of a in the last 3s, 1 in the last 1h"
    server.push({"app": "a"}, ["y"])
    wait_for("it is back", lambda: not named(server, "absent"))


def test_new_kinds_of_lines(nodes):
    server = nodes.server(config=config({
        "interval": "1s", "ready": [{"new_template": {"match": '{app="a"}', "window": "4m", "history": "1d"}}]}))
    old = time.time_ns() - 2 * 3600 * 10**9
    server.push({"app": "a"}, [f"user {i} logged in" for i in range(50)], start_ns=old)
    server.push({"app": "a"}, ["user 77 logged in"])
    server.push({"app": "b"}, ["a kind that nobody asked for"])
    wait_for("it is evaluated", lambda: rule(server, "new_template")["health"] == "ok")
    server.push({"app": "a"}, ["ERROR disk sda1 is on fire", "ERROR disk sda2 is on fire"])
    (alert,) = wait_for("it is found", lambda: named(server, "new_template", "firing"))
    assert "is on fire" in alert["labels"]["pattern"]
    assert "logged" not in json.dumps(alerts(server)) and "nobody" not in json.dumps(alerts(server))
    assert alert["annotations"]["summary"].startswith("a line of a kind that did not come in the last 1d: ")
    assert rule(server, "new_template")["query"] == 'new_template({app="a"} [4m], 1d)'


def test_rates_against_last_week(nodes):
    server = nodes.server(config=config({
        "ready": [{"rate_change": {"window": "1m", "against": "7d", "min": 50}}], "interval": "1s"}))
    now, week = time.time_ns(), 7 * 86400 * 10**9
    # So far into the window that it is there for some time.
    for app, before, after in [("same", 100, 120), ("more", 30, 200), ("less", 200, 20), ("few", 2, 20)]:
        if before:
            server.push({"app": app}, [f"x{i}" for i in range(before)], start_ns=now - week)
        server.push({"app": app}, [f"x{i}" for i in range(after)], start_ns=now)
    found = wait_for("both are found", lambda: len(named(server, "rate_change", "firing")) == 2
                     and named(server, "rate_change"))
    assert {a["labels"]["app"] for a in found} == {"more", "less"}


def test_ready_made_ones_do_not_watch_themselves(nodes):
    """A record that tells of an alert would be silent later, and be told as absent."""
    server = nodes.server(config=config({
        "interval": "1s", "ready": [{"absent": {"for": "2s"}}], "notify": [{"stream": {"group_wait": "0s"}}]}))
    server.push({"app": "a"}, ["x"])
    wait_for("it is told", lambda: told(server, "firing", "absent"))
    at = rule(server, "absent")["lastEvaluation"]
    for _ in range(5):
        at = evaluated_after(server, "absent", at)["lastEvaluation"]
    assert [a["labels"]["app"] for a in alerts(server)] == ["a"]


def test_collectors_count_together(nodes):
    """W-C11: each collector saw only its part of the errors.  All of them fire, and one of them tells."""
    servers = [nodes.server(name=f"s{i}", start=False) for i in range(2)]
    for i, server in enumerate(servers):
        server.data = nodes.folder / f"data{i}"
        server.config = nodes.folder / f"s{i}.yaml"
        server.config.write_text(config({
            "interval": "1s", "ready": [{"errors": {}}], "notify": [{"stream": {"group_wait": "0s"}}]},
            peers=[s.url for s in servers]))
    for server in servers:
        server.start()
    for server in servers:
        server.push({"app": "a"}, [f"ERROR {server.name} {i}" for i in range(5)])
    for server in servers:
        (alert,) = wait_for("it fires", lambda: named(server, "errors", "firing"))
        assert alert["value"] == "1e+01"
    wait_for("it is told", lambda: told(servers[0], "firing", "errors"))
    # Each answers for both.
    at = [rule(s, "errors")["lastEvaluation"] for s in servers]
    for server, before in zip(servers, at):
        evaluated_after(server, "errors", before)
    assert len(told(servers[0], "firing", "errors")) == len(told(servers[1], "firing", "errors")) == 1
    # One that is away is said, and what is left counts.
    servers[1].stop()
    wait_for("it is said", lambda: servers[1].url in rule(servers[0], "errors")["lastError"])
    assert rule(servers[0], "errors")["health"] == "ok"


def test_configuration_is_checked(nodes):
    for settings, word in [({"ready": [{"errors": {"threshold": 0}}]}, "threshold"),
                           ({"ready": [{"error": {}}]}, "errors"),
                           ({"groups_file": "none.yaml"}, "none.yaml"),
                           ({"ready": [{"errors": {}}, {"errors": {}}]}, "both called errors"),
                           ({"interval": "1ms"}, "interval")]:
        server = nodes.server(config=config(settings), start=False)
        server.start(wait=False)
        assert server.child.wait(timeout=20) != 0
        assert word in server.err, server.err
