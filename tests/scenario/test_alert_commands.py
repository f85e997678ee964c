# SPDX-License-Identifier: Apache-2.0
"""`sawlog alert` and `sawlog check` of rules, as people use them."""
import json
import random
import shutil
import time

import pytest
import sawlog

S = 10**9
YAML = {"Content-Type": "application/yaml"}

# The rule of the RabbitMQ system: ten errors in a minute.
RULES = """groups:
  - name: shop
    interval: 10s
    rules:
      - alert: HighErrorRate
        expr: sum by (app) (count_over_time({app=~".+"} |= "Error" [60s])) >= 10
        for: %(hold)s
        keep_firing_for: %(keep)s
        labels: {severity: page}
        annotations:
          summary: 'High error rate detected! {{ $value }} errors in the last 60 seconds.'
      - alert: Silent
        expr: absent_over_time({app="a"}[20m])
      - record: shop:errors
        expr: sum(rate({app="a"}[1m]))
"""


def alert(server, *args, code=0):
    r = sawlog.run("alert", *args, env={"SAWLOG_ADDR": server.url})
    assert r.returncode == code, (r.returncode, r.stdout, r.stderr)
    return r


def rows(server, *args):
    return [json.loads(x) for x in alert(server, *args, "-o", "jsonl").stdout.splitlines()]


def ns(text):
    """RFC 3339 without a fraction, as whole evaluations have it."""
    return None if text is None else int(time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone) * S


def rfc(t):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t // S))


def expect(times, start, end, step, hold, keep, threshold=10, window=60 * S):
    """When it fires, worked out from the documentation of Prometheus: [(pending, from, until, min, max)]."""
    found, pending, gone, firing = [], None, None, None
    for now in range(start, end + 1, step):
        count = sum(now - window < t <= now for t in times)
        if count >= threshold:
            pending = now if pending is None else pending
            gone = None
            if firing is None and now - pending >= hold:
                firing = [pending, now, None, count, count]
                found.append(firing)
            if firing:
                firing[3], firing[4] = min(firing[3], count), max(firing[4], count)
        elif firing:
            gone = now if gone is None else gone
            if now - gone >= keep:
                firing[2] = now
                pending = gone = firing = None
        else:
            pending = None
    return [tuple(x) for x in found]


@pytest.fixture
def shop(nodes):
    """Ten minutes of errors in bursts, hours ago: their times in `server.times`."""
    server = nodes.server()
    rng = random.Random(7)
    server.begin = time.time_ns() // (60 * S) * 60 * S - 4 * 3600 * S
    server.times = []
    for minute in range(150):
        for _ in range(rng.choice([0, 0, 2, 8, 12, 25])):
            server.times.append(server.begin + minute * 60 * S + rng.randrange(1, 60 * S))
    server.times.sort()
    lines = [(t, f"2026-11-21 10:00:00 ServiceA Error no {i}") for i, t in enumerate(server.times)]
    lines += [(server.begin + i * 30 * S, "2026-11-21 10:00:00 ServiceA Info all is well") for i in range(300)]
    assert server.push({"app": "a"}, sorted(lines)).status == 204
    return server


@pytest.mark.parametrize("hold,keep,step", [("0s", "0s", None), ("30s", "0s", None), ("20s", "1m", None), ("0s", "30s", "1s")])
def test_fired_in_the_past(shop, tmp_path, hold, keep, step):
    """W-C1: the alert fires, exactly when ten errors came within a minute.  One step in a second takes several answers."""
    seconds = {"0s": 0, "20s": 20 * S, "30s": 30 * S, "1m": 60 * S}
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES % {"hold": hold, "keep": keep})
    end = shop.begin + 3 * 3600 * S + 600 * S
    args = ["test", rules, "HighErrorRate", "--since", rfc(shop.begin), "--until", rfc(end)]
    got = rows(shop, *args, *(["--step", step] if step else []))
    want = expect(shop.times, shop.begin, end, S if step else 10 * S, seconds[hold], seconds[keep])
    assert len(want) > 5
    assert [(ns(x["pending"]), ns(x["from"]), ns(x["until"]), float(x["min"]), float(x["max"])) for x in got] == want
    assert all(x["labels"] == {"alertname": "HighErrorRate", "app": "a", "severity": "page"} for x in got)
    text = alert(shop, *args).stdout.decode()
    if not step:
        assert text.count('{app="a", severity="page"}') == len(want), text
        assert f"HighErrorRate: would have fired {len(want)} times, for " in text


def test_query_offset(shop, tmp_path):
    """A group that asks about what was so long ago fires so much later."""
    rules, later = tmp_path / "rules.yaml", tmp_path / "later.yaml"
    rules.write_text("namespace: shop\n" + RULES % {"hold": "30s", "keep": "0s"})
    later.write_text(rules.read_text().replace("  - name:", "  - query_offset: 90s\n    name:", 1))
    ask = lambda file: [(ns(x["from"]), ns(x["until"]), x["max"]) for x in rows(  # noqa: E731
        shop, "test", file, "HighErrorRate", "--since", rfc(shop.begin), "--until", rfc(shop.begin + 3 * 3600 * S))]
    assert len(ask(rules)) > 5
    assert ask(later) == [(a + 90 * S, b + 90 * S, peak) for a, b, peak in ask(rules)]


def test_what_fires_still(shop, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES % {"hold": "0s", "keep": "0s"})
    [x] = rows(shop, "test", rules, "Silent", "--since", "80m")
    assert x["until"] is None and x["labels"] == {"alertname": "Silent", "app": "a"}
    last = max(shop.times[-1], shop.begin + 299 * 30 * S)
    assert abs(ns(x["from"]) - (last + 20 * 60 * S)) <= 10 * S
    text = alert(shop, "test", rules, "--since", "80m").stdout.decode()
    assert " so far" in text and "HighErrorRate: would not have fired in 1h20m0s, looked at every 10s" in text, text


def test_rules_of_the_server(shop):
    group = "\n".join(line[4:] for line in (RULES % {"hold": "0s", "keep": "0s"}).splitlines()[1:])
    group = group.replace("- name", "name", 1).replace("\n  ", "\n")
    assert shop.call("POST", "/loki/api/v1/rules/team", group.encode(), YAML).status == 202
    window = ["--since", rfc(shop.begin), "--until", rfc(shop.begin + 3600 * S)]
    got = rows(shop, "test", "HighErrorRate", *window)
    want = expect(shop.times, shop.begin, shop.begin + 3600 * S, 10 * S, 0, 0)
    assert [(ns(x["pending"]), ns(x["from"]), ns(x["until"])) for x in got] == [w[:3] for w in want]
    listed = rows(shop, "list")
    assert [(x["group"], x["name"], x["type"]) for x in listed] == [
        ("shop", "HighErrorRate", "alerting"), ("shop", "Silent", "alerting"), ("shop", "shop:errors", "recording")]
    text = alert(shop, "list").stdout.decode()
    assert "recording  shop:errors" in text and '|= "Error" [60s])) >= 10' in text, text
    assert json.loads(alert(shop, "list", "-o", "json", "--state", "pending").stdout) == []


def test_mistakes_are_told(server, tmp_path):
    r = alert(server, "test", "NoSuchRule", code=74)
    assert b"no file, and no alerting rule of the server" in r.stderr
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES % {"hold": "0s", "keep": "0s"})
    assert b"no such alerting rule" in alert(server, "test", rules, "Other", code=74).stderr
    rules.write_text('groups:\n- name: a\n  rules:\n  - {alert: Log, expr: \'{app="a"}\'}\n')
    assert b"line 4, column 24: expr: must be a metric query" in alert(server, "test", rules, code=2).stderr
    rules.write_text('groups:\n- name: a\n  rules:\n  - {alert: New, expr: \'new_template({app="a"} [5m], 7d)\'}\n')
    assert b"sawlog diff" in alert(server, "test", rules, code=2).stderr
    # Two series that are one once the rule's labels are on them.
    now = time.time_ns()
    for app in "ab":
        server.push({"app": app}, [(now - 60 * S, "x")])
    rules.write_text("groups:\n- name: a\n  rules:\n  - {alert: Two, expr: 'sum by (app) (count_over_time({}[5m]))', labels: {app: one}}\n")
    text = alert(server, "test", rules, "--since", "10m").stdout.decode()
    assert "Two: would have failed" in text and "two series of the result have the labels" in text, text


def test_check_reads_rules(tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES % {"hold": "1m", "keep": "0s"})
    r = sawlog.run("check", rules)
    assert r.returncode == 0 and b"1 group, 2 alerting rules, 1 recording rule" in r.stdout, r.stdout
    cases = {
        'groups:\n- name: a\n  rules:\n  - {alert: A, expr: "sum(rate({app=`a`}[1m])) >"}\n': "line 4, column 22: expr: ",
        'groups:\n- name: a\n  rules:\n  - {alert: A, expr: "vector(1)", for: soon}\n': "line 4, column",
        'groups:\n- name: a\n  rules:\n  - {alert: A, expr: "vector(1)", annotations: {x: "{{ .Foo"}}\n': "group a, rule A: ",
        'groups:\n- name: a\n  rules:\n  - {alert: A, expr: \'{app="a"}\'}\n': "metric query",
    }
    for text, said in cases.items():
        rules.write_text(text)
        r = sawlog.run("check", rules)
        assert r.returncode == 78 and said in r.stderr.decode(), r.stderr


FAST = """groups:
  - name: fast
    interval: 1s
    rules:
      - {alert: Errors, expr: 'sum by (app) (count_over_time({app="shop"} |= "Error" [1h])) >= 10', labels: {severity: page}}
      - {alert: Later, expr: 'sum(count_over_time({app="shop"}[1h])) > 0', for: 1h}
      - {alert: Never, expr: 'sum(count_over_time({app="nobody"}[1h])) > 0'}
"""


@pytest.fixture
def alerting(nodes):
    (nodes.folder / "rules.yaml").write_text(FAST)
    return nodes.server(config="alerts: {groups_file: rules.yaml}\n")


def test_list(alerting):
    alerting.push({"app": "shop"}, [f"Error {i}" for i in range(12)])
    [firing] = sawlog.wait_for("it fires", lambda: rows(alerting, "list", "--state", "firing"))
    [a] = firing["alerts"]
    assert (firing["name"], float(a["value"]), a["labels"]["severity"]) == ("Errors", 12, "page")
    assert [r["name"] for r in rows(alerting, "list", "--state", "pending")] == ["Later"]
    assert [r["name"] for r in rows(alerting, "list", "--state", "inactive")] == ["Never"]
    text = alert(alerting, "list").stdout.decode()
    assert 'firing since ' in text and ', 12: {app="shop", severity="page"}' in text and "1h0m0s" in text, text
    assert "inactive  Never" in text and "silenced" not in text and "failed" not in text, text
    alert(alerting, "silence", "add", "alertname=~Err.*", "app!=bank", "--for", "1h")
    text = alert(alerting, "list").stdout.decode()
    assert ', 12: silenced: {app="shop", severity="page"}' in text and text.count("silenced") == 1, text
    assert rows(alerting, "list", "--state", "firing")[0]["alerts"][0]["silenced"] is True
    # What it would have done is what it does.
    [x] = rows(alerting, "test", "Errors", "--since", "1m", "--step", "1s")
    assert x["until"] is None and x["labels"] == {"alertname": "Errors", "app": "shop", "severity": "page"}


def test_silences(alerting):
    env = {"SAWLOG_ADDR": alerting.url, "USER": "ana"}
    made = sawlog.run("alert", "silence", "add", "app=shop", "severity!=info", "host=~db.*", "x!~a b", "--for", "4h",
                      "-m", "moving the web servers", env=env)
    assert made.returncode == 0, made.stderr
    first = made.stdout.decode().strip()
    second = alert(alerting, "silence", "add", "Errors", "--for", "30m", "--by", "bo").stdout.decode().strip()
    listed = {x["id"]: x for x in rows(alerting, "silence", "list")}
    assert set(listed) == {first, second}
    matchers = [(m["name"], m["value"], m["isRegex"], m["isEqual"]) for m in listed[first]["matchers"]]
    assert sorted(matchers) == [("app", "shop", False, True), ("host", "db.*", True, True), ("severity", "info", False, False),
                                ("x", "a b", True, False)]
    assert listed[first]["createdBy"] == "ana" and listed[first]["comment"] == "moving the web servers"
    assert [(m["name"], m["value"]) for m in listed[second]["matchers"]] == [("alertname", "Errors")]
    assert listed[second]["createdBy"] == "bo"
    text = alert(alerting, "silence", "list").stdout.decode()
    assert 'severity!="info"' in text and 'x!~"a b"' in text and "moving the web servers" in text, text
    alert(alerting, "silence", "expire", first, second)
    assert first not in alert(alerting, "silence", "list").stdout.decode()
    assert first in alert(alerting, "silence", "list", "--expired").stdout.decode()
    assert b"silence" in alert(alerting, "silence", "expire", "nosuch", code=2).stderr
    for words in (["add"], ["add", "=x"], ["add", "a!x"], ["add", "a~x"], ["add", "a=~("], ["expire"], ["other"], []):
        alert(alerting, "silence", *words, code=2)


def test_example(nodes):
    """examples/alerts does what it says; looked at every second, that nobody waits."""
    folder = nodes.folder / "example"
    shutil.copytree(sawlog.ROOT / "examples/alerts", folder)
    r = sawlog.run("check", folder / "rules.yaml")
    assert r.returncode == 0, r.stderr
    rules = folder / "rules.yaml"
    rules.write_text(rules.read_text().replace("interval: 15s", "interval: 1s"))
    config = (folder / "sawlog.yaml").read_text().replace("alerts:\n", "alerts:\n  interval: 1s\n", 1)
    config = config.replace("rules.yaml", str(rules)).replace("stream: {}", "stream: {group_wait: 0s}")
    server = nodes.server(config=config)
    lines = "".join(f"Error: payment {i} failed\n" for i in range(10)).encode()
    assert sawlog.run("emit", "loki=" + server.url, "--app", "shop", stdin=lines).returncode == 0
    names = sawlog.wait_for("both fire", lambda: len(n := {x["name"] for x in rows(server, "list", "--state", "firing")}) > 1 and n)
    assert "HighErrorRate" in names, names
    told = sawlog.wait_for("it is told", lambda: [x for x in server.lines('{app="alerts"}') if "HighErrorRate" in x])
    assert "10 errors in the last 60 seconds" in told[0], told
