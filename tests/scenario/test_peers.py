# SPDX-License-Identifier: Apache-2.0
"""Several servers that answer for each other: `peers`.

What three of them say of records that lie somewhere among them is held against what one server says
that has them all.
"""
import json
import random
import re
import socket
import threading

import pytest
import sawlog
import test_logql
from test_auth import Secure, create, pem  # noqa: F401

BASE = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SPAN = 3 * 3600 * SECOND
COUNT = 6000


def make_records(seed=7):
    """[(labels, ns, line, metadata)], each at a time of its own."""
    rng = random.Random(seed)
    made = []
    for i in range(COUNT):
        app = rng.choice(["web", "db", "mail"])
        level = rng.choice(["info", "info", "info", "warn", "error"])
        labels = {"app": app, "host": f"h{rng.randrange(4)}"}
        if app == "web":
            line = json.dumps({"level": level, "status": rng.choice([200, 200, 404, 500]),
                               "took": rng.randrange(1000), "path": f"/p/{rng.randrange(20)}"})
        elif app == "db":
            line = f"level={level} query took {rng.randrange(500)}ms rows={rng.randrange(90)}"
        else:
            line = f"{level.upper()} delivered to user{rng.randrange(50)} in {rng.random():.3f} s"
        meta = {"trace": f"t{rng.randrange(100)}"} if rng.random() < 0.2 else {}
        made.append((labels, BASE + i * (SPAN // COUNT) + rng.randrange(1000), line, meta))
    return made


def push(server, records, **kw):
    streams = {}
    for labels, ns, line, meta in records:
        value = [str(ns), line, meta] if meta else [str(ns), line]
        streams.setdefault(json.dumps(labels), []).append(value)
    body = {"streams": [{"stream": json.loads(k), "values": v} for k, v in streams.items()]}
    answer = server.call("POST", "/loki/api/v1/push", json.dumps(body).encode(),
                         {"Content-Type": "application/json", **kw.get("headers", {})})
    assert answer.status == 204, answer.text


@pytest.fixture
def made(nodes):
    """made(name, ...): a server with a folder of its own, not started, ended with the test."""
    servers = []

    def make(name, **kw):
        servers.append(sawlog.Server(nodes.folder / name, name=name, config="{}\n", **kw))
        return servers[-1]

    yield make
    for s in servers:
        s.close()


def make_peers(servers, more=""):
    """Each has the URLs of all of them as its peers, its own too."""
    urls = "".join(f"  - {s.url}\n" for s in servers)
    for s in servers:
        s.config.write_text(f"peers:\n{urls}{more}")
    return servers


@pytest.fixture
def cluster(made):
    return [s.start() for s in make_peers([made(f"s{i + 1}") for i in range(3)])]


RANGE = {"start": str(BASE - SECOND), "end": str(BASE + SPAN + SECOND)}

LOGS = [
    '{}',
    '{app="web"}',
    '{app="web", host=~"h[12]"} |= "500"',
    '{app=~".+"} |~ "took [0-9]{3}ms"',
    '{app="web"} | json | status >= 500 | took > 900',
    '{app="db"} | logfmt | rows="7"',
    '{trace="t5"}',
    '{app="mail", detected_level="error"}',
    '{} | detected_level="warn" |= "user4"',
    '{app="web"} | json | line_format "{{.status}} {{.path}}" |= "404"',
    '{app="nobody"}',
    '{} | json | uniq by (status)',
    '{} | sort by (host) desc',
]

METRICS = [
    'sum(count_over_time({}[10m]))',
    'sum by (app) (count_over_time({}[7m]))',
    'sum by (app, detected_level) (rate({}[30m]))',
    'count_over_time({app="db"} |= "rows" [1h])',
    'sum by (host) (bytes_over_time({app=~"web|db"}[20m]))',
    'sum by (status) (count_over_time({app="web"} | json [15m]))',
    'avg_over_time({app="web"} | json | unwrap took [1h]) by (host)',
    'quantile_over_time(0.9, {app="web"} | json | unwrap took [30m]) by (app)',
    'topk(2, sum by (host) (count_over_time({detected_level="error"}[1h])))',
    'sum(count_over_time({trace="t5"}[3h]))',
    'sum by (trace) (count_over_time({app="db"}[3h]))',
    'absent_over_time({app="nobody"}[1h])',
    'max_over_time({app="web"} | json | unwrap took [1h]) by (app) > 500',
    'sum without (host) (bytes_rate({}[10m] offset 20m))',
    'sum by (host) (rate({app="web"} | json | unwrap took [20m]))',
    'min_over_time({app="web"} | json | unwrap took | status = 500 [1h]) by (host)',
    'stddev_over_time({app="web"} | json | unwrap took [1h]) by (host)',
    'stdvar_over_time({app="web"} | json | unwrap took [1h])',
    'first_over_time({app="web"} | json | unwrap took [1h]) by (app)',
    'last_over_time({app="web"} | json | unwrap took [1h]) by (app)',
    'sum by (host) (rate_counter({app="web"} | json | unwrap took [1h]))',
    'absent_over_time({app="web"} | json | status = 500 [5m])',
    'sum(count_over_time({app="mail"} |= "in 0.5"[1h])) / sum(count_over_time({app="mail"}[1h]))',
    'sum(bytes_over_time({app="db"} | logfmt | rows > 50 | line_format "{{.rows}}" [1h]))',
]


def log_lines(answer):
    """[(ns, line, labels)] in the order of the answer."""
    return sorted((int(ns), line, sorted(s["stream"].items()))
                  for s in answer["data"]["result"] for ns, line, *_ in s["values"])


def matrix(answer):
    return sorted((sorted(s["metric"].items()), [[t, round(float(v), 6)] for t, v in
                   (s["values"] if "values" in s else [s["value"]])])
                  for s in answer["data"]["result"])


def ask(server, path, **params):
    answer = server.get(path, params)
    assert answer.status == 200, answer.text
    return answer.json()


def test_three_answer_as_one(made, cluster):
    """Queries of all kinds, the same as of one server that has every record."""
    one = made("one").start()
    records = make_records()
    rng = random.Random(3)
    push(one, records)
    for k, s in enumerate(cluster):
        mine = [r for i, r in enumerate(records) if i % 3 == k]
        # Some in parts, some in the head.
        push(s, mine[:1500])
        assert s.call("POST", "/-/flush").status == 200
        push(s, mine[1500:])
    for query in LOGS:
        for limit in (37, 5000):
            for direction in ("forward", "backward"):
                params = {"query": query, "limit": limit, "direction": direction, **RANGE}
                want = ask(one, "/loki/api/v1/query_range", **params)
                got = ask(rng.choice(cluster), "/loki/api/v1/query_range", **params)
                assert "warnings" not in got, got["warnings"]
                assert log_lines(got) == log_lines(want), (query, limit, direction)
    for query in METRICS:
        for step in ("600", "37"):
            params = {"query": query, "step": step, **RANGE}
            want = ask(one, "/loki/api/v1/query_range", **params)
            got = ask(rng.choice(cluster), "/loki/api/v1/query_range", **params)
            assert "warnings" not in got, got["warnings"]
            assert matrix(got) == matrix(want), (query, step)
        params = {"query": query, "time": str(BASE + SPAN // 2)}
        assert matrix(ask(cluster[1], "/loki/api/v1/query", **params)) == \
            matrix(ask(one, "/loki/api/v1/query", **params)), query
    for path, params in LISTINGS:
        want, got = (ask(s, path, **{**RANGE, **params}) for s in (one, cluster[2]))
        assert comparable(got) == comparable(want), (path, params)


def comparable(answer):
    """Without what tells of work and of numbers in a store."""
    for name in ("sawlog", "chunks", "warnings"):
        assert name != "warnings" or name not in answer, answer[name]
        answer.pop(name, None)
    if isinstance(answer.get("data"), dict):
        for name in ("sawlog", "stats"):
            answer["data"].pop(name, None)
    return answer


LISTINGS = [
    ("/loki/api/v1/labels", {}),
    ("/loki/api/v1/label/app/values", {}),
    ("/loki/api/v1/series", {"match[]": '{app="web"}'}),
    ("/loki/api/v1/index/stats", {"query": '{app="web"}'}),
    ("/loki/api/v1/index/volume", {"query": '{app=~".+"}', "targetLabels": "app,host"}),
    ("/loki/api/v1/index/volume_range", {"query": '{}', "targetLabels": "app", "step": "1h"}),
    ("/loki/api/v1/patterns", {"query": '{app="db"}', "step": "1h"}),
    ("/loki/api/v1/patterns", {"query": '{app="mail"}', "samples": "false", "example": "true"}),
    ("/loki/api/v1/detected_labels", {}),
    ("/loki/api/v1/detected_fields", {"query": '{app="web"}', "line_limit": 1000}),
    ("/api/v1/diff", {"query": '{app="db"}', "before_start": str(BASE),
                      "before_end": str(BASE + SPAN // 2), "start": str(BASE + SPAN // 2)}),
]


def test_pages_go_on_over_peers(cluster):
    """A cursor goes through the records of all three, each once, newest first and oldest first; and
    each of them has a number by which it is found at any server."""
    records = make_records(5)[:1500]
    for k, s in enumerate(cluster):
        push(s, [r for i, r in enumerate(records) if i % 3 == k])
    for direction in ("backward", "forward"):
        cursor, found = "", []
        while True:
            params = {"query": '{app=~"web|db"}', "limit": 97, "direction": direction,
                      "sequence": "true", "cursor": cursor, **RANGE}
            answer = ask(cluster[0], "/loki/api/v1/query_range", **params)
            assert "warnings" not in answer
            page = [(int(v[0]), v[1], v[2]["seq"]) for s in answer["data"]["result"]
                    for v in s["values"]]
            found += sorted(page, reverse=direction == "backward")
            cursor = answer["data"]["sawlog"].get("next")
            if not cursor:
                break
        want = sorted((ns, line) for labels, ns, line, _ in records if labels["app"] != "mail")
        if direction == "backward":
            want.reverse()
        assert [f[:2] for f in found] == want
    numbers = [seq for _, _, seq in found]
    assert len(set(numbers)) == len(numbers) and max(numbers) < 2 ** 53
    for ns, line, seq in found[:200:17]:
        answer = ask(cluster[0], f"/api/v1/record/{seq}", context=2)
        assert answer["data"]["record"]["line"] == line
        assert answer["data"]["record"]["time"] == str(ns)
        assert len(answer["data"]["after"]) == 2
    for nobodys in ((9 << 46) + 1, (2 << 46) + 10 ** 6, 1 << 63):
        assert cluster[0].get(f"/api/v1/record/{nobodys}").status == 404


def pages_asked(server):
    return sum(int(n) for n in re.findall(r"^sawlog_peer_pages_total\S* (\d+)",
                                          server.get("/metrics").text, re.M))


def test_partial_aggregates_go_over_the_wire(cluster):
    """A metric query asks each peer once, whatever it has to see of the lines; what is wrong with the
    lines is said as by one server; and where a broker delivered again it is done by rows."""
    records = make_records(9)
    for k, s in enumerate(cluster):
        push(s, [r for i, r in enumerate(records) if i % 3 == k])
    ask(cluster[0], "/loki/api/v1/query_range", query="{}", **RANGE)
    for query in METRICS:
        before = pages_asked(cluster[0])
        ask(cluster[0], "/loki/api/v1/query_range", query=query, step="600", **RANGE)
        assert pages_asked(cluster[0]) - before == 2 * query.count("{}") + 2 * query.count("{app") + \
            2 * query.count("{trace") + 2 * query.count("{detected"), query
    answers = [s.get("/loki/api/v1/query", {"query": query, "time": str(BASE + SPAN)})
               for s in cluster for query in ('sum(rate({app="db"} | json [3h]))',)]
    for answer in answers:
        assert answer.status == 400 and "JSONParserErr" in answer.text
    push(cluster[1], [broker_record(BASE, "again", 1, again=True)])
    before = pages_asked(cluster[0])
    assert counted(cluster[0], 'sum(count_over_time({app="shop"}[4h]))')[0] == {(): 1.0}
    assert pages_asked(cluster[0]) - before > 2


def test_one_is_down(cluster):
    """What is there is answered, and a warning names the one that is not; counts and listings too."""
    records = make_records(6)[:900]
    for k, s in enumerate(cluster):
        push(s, [r for i, r in enumerate(records) if i % 3 == k])
    a, b, down = cluster
    answer = ask(a, "/loki/api/v1/query_range", query="{}", limit=5000, sequence="true", **RANGE)
    numbers = [v[2]["seq"] for s in answer["data"]["result"] for v in s["values"]]
    [of_down, *_] = [seq for seq in numbers if seq >> 46 == 3]
    [of_own, *_] = [seq for seq in numbers if seq >> 46 == 0]
    down.kill()
    want = sorted((ns, line) for i, (_, ns, line, _) in enumerate(records) if i % 3 != 2)
    answer = ask(a, "/loki/api/v1/query_range", query="{}", limit=5000, **RANGE)
    assert [e[:2] for e in log_lines(answer)] == want
    [warning] = answer["warnings"]
    assert down.url in warning and "without the records of that server" in warning
    answer = ask(b, "/loki/api/v1/query", query="sum(count_over_time({}[4h]))",
                 time=str(BASE + SPAN + SECOND))
    assert matrix(answer)[0][1][0][1] == len(want)
    assert down.url in answer["warnings"][0]
    answer = ask(a, "/loki/api/v1/labels", **RANGE)
    assert "app" in answer["data"] and down.url in answer["warnings"][0]
    assert a.metric("sawlog_peer_failures_total", peer=down.url) >= 2
    assert a.metric("sawlog_peer_pages_total", peer=b.url) >= 2
    # This server's own alone, without a word of the others.
    answer = ask(a, "/loki/api/v1/query_range", query="{}", limit=5000, local="true", **RANGE)
    assert len(log_lines(answer)) == 300 and "warnings" not in answer
    # A record of it is not there, which is not to say that it is gone.
    answer = a.get(f"/api/v1/record/{of_down}")
    assert answer.status == 503 and down.url in answer.text
    assert a.get(f"/api/v1/record/{of_own}").status == 200
    # It comes back.
    down.start()
    answer = ask(a, "/loki/api/v1/query_range", query="{}", limit=5000, **RANGE)
    assert len(log_lines(answer)) == 900 and "warnings" not in answer


def test_one_that_says_nothing_is_left_alone(made):
    """A peer that takes connections and never answers costs one timeout, not one for each query."""
    [a] = make_peers([made("a")])
    deaf = socket.create_server(("127.0.0.1", 0))
    held = []

    def hold():
        try:
            while True:
                held.append(deaf.accept()[0])
        except OSError:
            pass

    threading.Thread(target=hold, daemon=True).start()
    url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
    a.config.write_text(f"peers: [{url}]\npeer: {{timeout: 1500ms}}\n")
    a.start()
    push(a, make_records()[:10])
    answer = ask(a, "/loki/api/v1/query_range", query="{}", **RANGE)
    assert len(log_lines(answer)) == 10 and url in answer["warnings"][0]
    n = len(held)
    for _ in range(5):
        answer = ask(a, "/loki/api/v1/query_range", query="{}", **RANGE)
        assert len(log_lines(answer)) == 10 and url in answer["warnings"][0]
    assert len(held) == n
    deaf.close()


def broker_record(ns, line, number, again=False, app="shop", id_too=True):
    meta = {"exchange": "logs", **({"message_id": f"m{number}"} if id_too else {}),
            **({"redelivered": "true"} if again else {})}
    return {"app": app, "input": "amqp"}, ns, line, meta


def counted(server, query):
    answer = ask(server, "/loki/api/v1/query", query=query, time=str(BASE + SPAN + SECOND))
    return {tuple(sorted(s["metric"].items())): float(s["value"][1])
            for s in answer["data"]["result"]}, answer.get("warnings", [])


def test_redelivered_records_are_told_once(cluster):
    """What a broker delivered to two of them is one record: in lines, with a limit, in counts and in
    patterns, whoever is asked; what was redelivered and lies in one store alone stays."""
    a, b, c = cluster
    times = [BASE + i * SECOND for i in range(400)]
    lines = [f"order {i} from user{i % 7} took {i % 13}ms" for i in range(400)]
    everything = [broker_record(times[i], lines[i], i) for i in range(400)]
    push(a, everything[:250])
    # 200..249 came again, to b; 300..309 are marked at b although nobody has them else.
    push(b, [broker_record(times[i], lines[i], i, again=i < 260 or 300 <= i < 310)
             for i in range(200, 350)])
    # 340..349 were delivered three times: twice marked.
    push(c, [broker_record(times[i], lines[i], i, again=i < 350) for i in range(340, 400)])
    push(b, [({"app": "other"}, BASE, "not from a broker", {})])
    for flushed in (False, True):
        for s in cluster:
            if flushed:
                assert s.call("POST", "/-/flush").status == 200
        for s in cluster:
            for limit in (5000, 100, 7) if s is b else (30,):
                for direction in ("backward", "forward"):
                    answer = ask(s, "/loki/api/v1/query_range", query='{app="shop"}', limit=limit,
                                 direction=direction, **RANGE)
                    want = list(zip(times, lines))
                    want = want[-limit:] if direction == "backward" else want[:limit]
                    assert [e[:2] for e in log_lines(answer)] == want, (limit, direction)
                    assert "warnings" not in answer
            assert counted(s, 'sum by (app) (count_over_time({}[4h]))') == (
                {(("app", "shop"),): 400.0, (("app", "other"),): 1.0}, [])
            assert counted(s, 'sum(bytes_over_time({app="shop"}[4h]))')[0] == {
                (): float(sum(map(len, lines)))}
            answer = ask(s, "/loki/api/v1/patterns", query='{app="shop"}', samples="false", **RANGE)
            assert sum(p["count"] for p in answer["data"]) == 400
            assert ask(s, "/loki/api/v1/index/stats", query='{}', **RANGE)["entries"] == 401


def test_redelivered_without_an_id_is_said(cluster):
    a, b, _ = cluster
    record = broker_record(BASE, "who knows", 0, id_too=False)
    push(a, [record])
    push(b, [broker_record(BASE, "who knows", 0, again=True, id_too=False)])
    answer = ask(a, "/loki/api/v1/query_range", query='{app="shop"}', **RANGE)
    assert len(log_lines(answer)) == 2
    assert "1 records were delivered again" in answer["warnings"][0]


def test_tokens_and_tls(tmp_path, pem):
    """Peers show a token, over TLS; one that is not taken is said, and hides nothing of one's own."""
    made = [Secure(tmp_path / name, pem, name=name) for name in "ab"]
    try:
        for s in made:
            s.config.write_text(s.config.read_text() + f"""
peers: [{made[0].url}, {made[1].url}]
peer: {{token_file: {tmp_path}/token, ca: {pem}/ca.pem}}
""")
        (tmp_path / "token").write_text(create(made[0].tokens, "peers", scope="read") + "\n")
        keys = [create(s.tokens, "all", scope="ingest,read") for s in made]
        # The one token is known to both.
        made[1].tokens.write_text(made[1].tokens.read_text() + made[0].tokens.read_text())
        for s, key in zip(made, keys):
            s.start()
            assert s.push_line(f"from {s.name}", key)[0] == 204

        def ask_first():
            status, body = made[0].curl("/loki/api/v1/query_range?query=%7B%7D", token=keys[0])
            assert status == 200, body
            answer = json.loads(body)
            return sorted(e[1] for e in log_lines(answer)), answer.get("warnings")

        # The first server may have looked for the second one before that was there.
        sawlog.wait_for("both are told", lambda: ask_first() == (["from a", "from b"], None))
        [peer] = re.findall(r"^(\w+) .*peers$", made[1].tokens.read_text(), re.M)
        assert sawlog.run("token", "revoke", "--tokens-file", made[1].tokens, peer).returncode == 0
        sawlog.wait_for("the token is not taken", lambda: ask_first()[1])
        lines, [warning] = ask_first()
        assert lines == ["from a"] and made[1].url in warning and "401" in warning
        # Without a token nobody reads by this way either.
        status, _ = made[0].curl("/api/v1/scan?from=0&to=1&query=%7B%7D")
        assert status == 401
    finally:
        for s in made:
            s.close()


def test_tenants_stay_apart(cluster):
    a, b, c = cluster
    push(a, [({"app": "x"}, BASE, "of one", {})], headers={"X-Scope-OrgID": "one"})
    push(b, [({"app": "x"}, BASE + 1, "of two", {})], headers={"X-Scope-OrgID": "two"})
    push(c, [({"app": "x"}, BASE + 2, "of nobody", {})])

    def lines(tenant):
        answer = a.get("/loki/api/v1/query_range", {"query": '{app="x"}', **RANGE},
                       {"X-Scope-OrgID": tenant} if tenant else {})
        return [(e[1], dict(e[2]).get("__tenant_id__")) for e in log_lines(answer.json())]

    assert lines("one") == [("of one", None)]
    assert lines("two") == [("of two", None)]
    assert lines(None) == [("of nobody", None)]
    assert lines("one|two") == [("of one", "one"), ("of two", "two")]


def test_cases_over_three_servers(made):
    """The cases of tests/logql, with their lines at random on three servers that answer for each
    other, in the head and in parts: the same answers as of one."""
    rng = random.Random(2)
    servers = make_peers([made(f"s{i + 1}") for i in range(3)], test_logql.CONFIG)
    tied = set()
    for s in servers:
        s.start()
    for file in test_logql.FILES:
        for name, lines in file.data.items():
            tenant, shares = f"{file.name}.{name}", [[], [], []]
            for line in lines:
                rng.choice(shares).append(line)
            for s, share in zip(servers, shares):
                test_logql.push(s, tenant, share)
            if len({ns for _, ns, _, _ in lines}) < len(lines):
                tied.add(tenant)
        if rng.random() < 0.2:
            assert rng.choice(servers).call("POST", "/-/flush").status == 200
    failures, n = [], 0
    for file in test_logql.FILES:
        for case in file.cases:
            # Which of two lines of one time is within a limit depends on where they lie.
            if case.settings["limit"] and case.tenant in tied:
                continue
            answer = test_logql.ask(rng.choice(servers), case)
            n += 1
            if not test_logql.same_answer(case, answer) or "without the" in answer.text:
                failures.append(f"{case.place}\n    {case.query}\n    {answer.text[:1000]}")
    assert n > 500
    assert not failures, f"{len(failures)} of {n}:\n" + "\n".join(failures)


@pytest.mark.parametrize("direction", ["backward", "forward"])
def test_pages_while_records_come(cluster, direction):
    """What was there when the first page was asked for is told once by the pages, whatever comes in
    between at whichever server; and nothing is told twice."""
    rng = random.Random(4)
    records = make_records(8)[:900]
    for k, s in enumerate(cluster):
        push(s, records[k::3])
    cursor, found, n_more = "", [], 0
    for page in range(200):
        params = {"query": "{}", "limit": 50, "direction": direction, "sequence": "true",
                  "cursor": cursor, **RANGE}
        answer = ask(cluster[0], "/loki/api/v1/query_range", **params)
        assert "warnings" not in answer
        found += [(v[1], v[2]["seq"]) for s in answer["data"]["result"] for v in s["values"]]
        cursor = answer["data"]["sawlog"].get("next")
        if not cursor:
            break
        if page < 25:
            new = [({"app": "late", "n": str(n_more + i)}, BASE + rng.randrange(SPAN),
                    f"late {n_more + i}", {}) for i in range(20)]
            push(cluster[page % 3], new)
            n_more += 20
        if page % 7 == 3:
            assert cluster[page % 3].call("POST", "/-/flush").status == 200
    assert not cursor
    assert len({seq for _, seq in found}) == len(found)
    lines = [line for line, _ in found if not line.startswith("late")]
    assert sorted(lines) == sorted(line for _, _, line, _ in records)
    late = [line for line, _ in found if line.startswith("late")]
    assert len(set(late)) == len(late)


def test_small_memory(made):
    """A server of 16 MiB that asks two of more: an answer, whole or one that says what is missing."""
    small = made("small")
    big = [made("big1").start(), made("big2").start()]
    rng = random.Random(9)
    n, width = 30000, 300
    for s in big:
        for at in range(0, n, 5000):
            push(s, [({"app": f"a{i % 5}"}, BASE + i * 1000, f"{i} " + rng.randbytes(width // 2).hex(),
                      {}) for i in range(at, at + 5000)])
    small.config.write_text(f"peers: [{big[0].url}, {big[1].url}]\nmemory: 16MiB\n")
    small.start()
    push(small, [({"app": "own"}, BASE, "own", {})])
    for query, limit in (("{}", 100), ("{}", 5000), ('{} |= "ab"', 1000), ('{} |= "nowhere"', 10)):
        for direction in ("backward", "forward"):
            answer = small.get("/loki/api/v1/query_range", {
                "query": query, "limit": limit, "direction": direction, **RANGE})
            if answer.status != 200:
                assert answer.status in (413, 429, 503) or "memory" in answer.text, answer.text
                continue
            got = answer.json()
            if "warnings" in got:
                assert "memory" in got["warnings"][0], got["warnings"]
            elif query == "{}":
                assert len(log_lines(got)) == limit
    # Rows are looked at page by page; of all of them only counts are held.
    for query, want in (("sum(count_over_time({}[4h]))", 2 * n + 1),
                        ('sum(count_over_time({app=~"a.+"} |~ "^[0-9]+ " [4h]))', 2 * n),
                        ('sum(count_over_time({app=~"a.+"} | regexp "^(?P<n>[0-9]+) " | n >= 0 [4h]))', 2 * n)):
        answer = ask(small, "/loki/api/v1/query", query=query, time=str(BASE + SPAN + SECOND))
        assert "warnings" not in answer, answer["warnings"]
        assert float(answer["data"]["result"][0]["value"][1]) == want


def test_two_names_of_one_server(made):
    """A server that is in the list by two names is told once, by the numbers of the first; by those
    of the second its records are found too."""
    a, b = made("a"), made("b").start()
    push(b, make_records()[:200])
    a.config.write_text(f"peers: [{b.url}, {b.url.replace('127.0.0.1', 'localhost')}]\n")
    a.start()
    for _ in range(3):
        answer = ask(a, "/loki/api/v1/query_range", query="{}", limit=5000, sequence="true", **RANGE)
        assert "warnings" not in answer
        numbers = [v[2]["seq"] for s in answer["data"]["result"] for v in s["values"]]
        assert len(numbers) == 200
    for number in (1, 2):
        assert a.get(f"/api/v1/record/{(number << 46) + numbers[7] % (1 << 46)}").status == 200


def test_many_redelivered_records(cluster):
    """More than are asked for at once, over days: each once."""
    a, b, _ = cluster
    n, apart = 1300, 400 * SECOND
    records = [(BASE + i * apart, f"order {i}") for i in range(n)]
    push(a, [broker_record(ns, line, i) for i, (ns, line) in enumerate(records)])
    # A few of them are marked at b and lie nowhere else; others came half an hour later.
    push(b, [broker_record(ns + (1800 * SECOND if i % 3 == 0 else 0), line, i, again=True)
             for i, (ns, line) in enumerate(records)])
    push(b, [broker_record(BASE + i * SECOND, f"alone {i}", f"b{i}", again=True) for i in range(9)])
    for s in cluster:
        answer = ask(s, "/loki/api/v1/query", query='sum(count_over_time({app="shop"}[7d]))',
                     time=str(BASE + n * apart))
        assert answer["data"]["result"][0]["value"][1] == str(n + 9)
        assert "warnings" not in answer
