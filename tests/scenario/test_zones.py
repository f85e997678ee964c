# SPDX-License-Identifier: Apache-2.0
"""Two zones of two servers and two routers under load: a server is killed, a zone cut off, all is healed."""
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sawlog
from loggregator import Envelope, LogMessage, multipart
from sawlog import wait_for
from test_auth import pem  # noqa: F401
from test_peers import ask, comparable, log_lines, matrix
from zones import (CommandFollower, Load, LokiFollower, MessageFollower, Rsyslogd, Zones, warnings)

APPS = '{app=~"app-.+"}'
# A sanitizer's build takes its time.
PATIENCE = 180 if sawlog.SANITIZED else 60

LOGS = [
    APPS,
    '{app="app-01"}',
    '{app=~"app-0[1-4]", source="App/1"} |= "took"',
    '{app=~"app-.+"} |~ "line [0-9]*7 " != "RTR"',
    '{app=~"app-.+"} | logfmt | took > 50ms',
    '{app="app-03"} | message_type="OUT" | line_format "{{.source}} {{.app}}"',
    '{source="RTR/0"} |= " 500"',
    '{app="nobody"}',
]
METRICS = [
    'sum(count_over_time({app=~"app-.+"}[10s]))',
    'sum by (app) (count_over_time({app=~"app-.+"}[7s]))',
    'sum by (source, app) (rate({source=~".+"} |= "line"[20s]))',
    'topk(3, sum by (app) (count_over_time({app=~"app-.+"} |= "404" [1m])))',
    'sum by (app) (bytes_over_time({app=~"app-1.+"}[5s]))',
    'quantile_over_time(0.9, {app=~"app-.+"} | regexp "took=(?P<took>[0-9]+)" | unwrap took [30s]) by (app)',
    'avg_over_time({app=~"app-.+"} | regexp "took=(?P<took>[0-9]+)" | unwrap took [30s]) by (source)',
    'count(sum by (app) (count_over_time({app=~"app-.+"}[1m])))',
    'sum(count_over_time({app="app-00"}[10s])) / sum(count_over_time({app=~"app-.+"}[10s]))',
    'absent_over_time({app="nobody"}[1m])',
]
LISTINGS = [
    ("/loki/api/v1/label/app/values", {"query": APPS}),
    ("/loki/api/v1/label/source/values", {"query": APPS}),
    ("/loki/api/v1/series", {"match[]": APPS}),
    ("/loki/api/v1/index/volume", {"query": APPS, "targetLabels": "app,source", "limit": 1000}),
    ("/loki/api/v1/detected_fields", {"query": '{app="app-02"}', "line_limit": 1000}),
]


@pytest.fixture
def zones(nodes):
    made = []

    def make(**kw):
        made.append(Zones(nodes.folder, **kw))
        return made[-1].start()

    yield make
    for z in made:
        z.close()


def questions(begin, end):
    """[(what makes answers comparable, path, parameters)]"""
    window = {"start": str(begin), "end": str(end)}
    for query in LOGS:
        for limit, direction in ((53, "forward"), (53, "backward"), (5000, "forward")):
            yield log_lines, "/loki/api/v1/query_range", {"query": query, "limit": limit, "direction": direction, **window}
    for query in METRICS:
        for step in ("1", "7"):
            yield matrix, "/loki/api/v1/query_range", {"query": query, "step": step, **window}
        yield matrix, "/loki/api/v1/query", {"query": query, "time": str(end)}
    for path, params in LISTINGS:
        yield comparable, path, {**window, **params}


def same_answers(routers, one, begin, end):
    """What routers answer is what the one server says that has all of it."""
    for view, path, params in questions(begin, end):
        want = view(ask(one, path, **params))
        for r in routers:
            got = ask(r, path, **params)
            assert "warnings" not in got, (r.name, got["warnings"])
            assert view(got) == want, (r.name, path, params)


def of_loggregator(server, app):
    """What Loggregator's own clients are told of the past."""
    def parts(path, decode):
        answer = server.get(path)
        assert answer.status == 200, answer.text
        return [decode(p) for p in multipart(answer.body, answer.headers["Content-Type"])]

    messages = [(m.timestamp, m.message, m.err, m.app) for m in parts(f"/recent?app={app}", LogMessage.decode)]
    envelopes = [(x.timestamp, x.event["message"], x.event["app_id"])
                 for x in parts(f"/apps/{app}/recentlogs", Envelope.decode)]
    cache = server.get(f"/api/v1/read/{app}", {"limit": 700, "descending": "true"})
    assert cache.status == 200, cache.text
    batch = [(x["timestamp"], x["log"]["payload"], x["instance_id"]) for x in cache.json()["envelopes"]["batch"]]
    return messages, envelopes, batch


def test_two_zones(nodes, zones, pem):
    """Nothing that was acknowledged is lost and nothing is told twice; tails go on without a gap; drains keep the
    order; and merged answers are those of one big server."""
    drains = {"app-00": Rsyslogd(nodes.folder / "drain-a").start(), "app-01": Rsyslogd(nodes.folder / "drain-b").start()}
    if Rsyslogd.speaks_tls():
        drains["app-02"] = Rsyslogd(nodes.folder / "drain-tls", pem).start()
    apps = json.dumps({app: [d.url] for app, d in drains.items()})
    try:
        two = zones(more=f"drains: {{tls: {{ca: {pem}/ca.pem}}, apps: {apps}}}\n")
        campaign(two, drains)
    finally:
        for d in drains.values():
            d.close()


def campaign(two, drains):
    a, b = two.routers["a"], two.routers["b"]
    begin = time.time_ns()
    load = Load(two)
    tails = [
        (LokiFollower(a, APPS), load.apps),
        (LokiFollower(b, '{app="app-00"}'), ["app-00"]),
        (LokiFollower(b, '{app="app-01"}'), ["app-01"]),
        (MessageFollower(a, "app-03"), ["app-03"]),
        (MessageFollower(b, "app-02"), ["app-02"]),
        (CommandFollower(a, "app-05"), ["app-05"]),
        (CommandFollower(b, "app-05"), ["app-05"]),
    ]
    wait_for("logs is connected", lambda: all("Connected" in t.err for t, _ in tails[5:]))
    load.start()
    time.sleep(2)

    # A server is gone: what is for it waits at the router, and answers say that it is missing.
    victim = two.servers["a"][0]
    victim.kill()
    time.sleep(1.5)
    for r in (a, b):
        url = victim.url if r is a else two.links["a"][0].url
        assert any(url in w for w in warnings(r)), r.name
    victim.start()
    time.sleep(1)

    # One that hangs is as one that is gone.
    stopped = two.servers["b"][1]
    stopped.child.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    stopped.child.send_signal(signal.SIGCONT)
    time.sleep(1)

    # The zones do not reach each other: each takes its own and answers with it.
    two.cut()
    time.sleep(2)
    own = [(a, "app-00"), (b, "app-01")]
    with ThreadPoolExecutor() as both:  # each waits for the servers that do not answer
        answers = list(both.map(lambda x: ask(x[0], "/loki/api/v1/query_range", query=f'{{app="{x[1]}"}}',
                                              since="1h", limit=10), own))
    for (r, _), answer in zip(own, answers):
        assert answer["data"]["result"] and answer["warnings"], r.name
    two.heal()
    time.sleep(1.5)
    load.stop()

    for tail, apps in tails:
        tail.complete(load, apps, PATIENCE)
        tail.close()
    for r in (a, b):
        wait_for("all are there", lambda r=r: not missing(load, r), PATIENCE)
        load.check(r.lines(APPS), r.name)
        assert not warnings(r)
    load.check(two.one.lines(APPS), "one")
    for app, drain in drains.items():
        check_drain(load, app, drain)
    end = time.time_ns()
    same_answers((a, b), two.one, begin, end)
    for r in (a, b):
        for app in ("app-00", "app-01"):
            assert of_loggregator(r, app) == of_loggregator(two.one, app), (r.name, app)


def missing(load, router):
    """How many lines it does not know yet."""
    got = ask(router, "/loki/api/v1/query", query=f"sum(count_over_time({APPS}[1h]))")
    return len(load.lines()) - (int(got["data"]["result"][0]["value"][1]) if got["data"]["result"] else 0)


def check_drain(load, app, drain):
    """Each line at least once: a server that was killed may send again what it could not note as sent.  Without those,
    the lines of a stream are in order."""
    lines = load.lines(app)
    wait_for(f"the drain of {app}", lambda: len({m[2] for m in drain.messages()}) >= len(lines), PATIENCE)
    got = drain.messages()
    assert {m[0] for m in got} == {app}
    assert {m[1] for m in got} == {"[App/0]", "[App/1]", "[RTR/0]"} or {m[1].upper() for m in got} == {
        "[APP/0]", "[APP/1]", "[RTR/0]"}
    load.check([m[2] for m in got], f"the drain of {app}", [app], twice=True)
