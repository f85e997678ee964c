# SPDX-License-Identifier: Apache-2.0
"""GET /logs/<service>[/<severity>]: as the search service of a collector of text lines answers it, and what it could not."""
import json
import re
import time
import urllib.parse

import pytest

import sawlog

T = 1_734_512_400_000_000_000  # 2024-12-18T09:00:00Z
S = 1_000_000_000


@pytest.fixture
def berlin(nodes):
    """A server whose clock on the wall is Berlin's."""
    return nodes.server(env={"TZ": "Europe/Berlin"})


def put(server, service, *lines):
    """(seconds, severity, message)"""
    answer = server.push({"app": service}, [(T + at * S, message, {"severity": severity})
                                            for at, severity, message in lines])
    assert answer.status == 204, answer.text


def messages(answer):
    assert answer.status == 200, answer.text
    return [entry["message"] for entry in answer.json()["logs"]]


def test_to_the_byte(berlin):
    put(berlin, "ServiceA", (0, "Error", 'disk "a" is full \\ ü 🙂\n\ttwo'), (1, "Info", ""))
    answer = berlin.get("/logs/ServiceA")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    ids = re.findall(rb'"_id":"([0-9a-f]{24})"', answer.body)
    assert len(set(ids)) == 2
    assert answer.body == (
        b'{"logs":[{"_id":"' + ids[0] + b'","message":"disk \\"a\\" is full \\\\ \\u00fc \\ud83d\\ude42\\n\\ttwo",'
        b'"service":"ServiceA","severity":"Error","timestamp":"2024-12-18 10:00:00"},'
        b'{"_id":"' + ids[1] + b'","message":"","service":"ServiceA","severity":"Info",'
        b'"timestamp":"2024-12-18 10:00:01"}],"message":"Logs retrieved successfully"}\n')
    # The original's own form of it: keys sorted, ASCII.
    assert answer.body.decode() == json.dumps(answer.json(), sort_keys=True, separators=(",", ":")) + "\n"
    assert berlin.get("/logs/ServiceA/Error").json()["logs"] == answer.json()["logs"][:1]
    assert "Link" not in answer.headers


def test_nothing_found_is_an_answer(server):
    empty = b'{"logs":[],"message":"Logs retrieved successfully"}\n'
    put(server, "ServiceA", (0, "Error", "x"))
    for path in ("/logs/ServiceB", "/logs/ServiceA/Warn", "/logs/servicea", "/logs/ServiceA/error",
                 "/logs/Service", "/logs/ServiceA/Erro", "/logs/%22%7D%20or%20%7B"):
        answer = server.get(path)
        assert (answer.status, answer.body) == (200, empty), path
    assert server.call("HEAD", "/logs/ServiceA").status == 200
    assert server.call("POST", "/logs/ServiceA", b"").status == 405
    for path in ("/logs", "/logs/", "/logs/a/b/c"):
        assert server.get(path).status == 404, path


def test_names_of_any_kind(server):
    """W-C10: services with points, blanks and slashes are found."""
    for service in ("my.own.service", "My Service", "a/b", 'q"{}', "ünï", "100%"):
        put(server, service, (0, "Error", service), (1, "Very Bad", "severity with a blank"))
        path = "/logs/" + urllib.parse.quote(service, safe="")
        assert messages(server.get(path)) == [service, "severity with a blank"]
        assert messages(server.get(path + "/Very%20Bad")) == ["severity with a blank"]
        page = server.get(path, {"limit": 1})
        following = re.fullmatch(r'<([^>]+)>; rel="next"', page.headers["Link"]).group(1)
        assert messages(server.get(following)) == ["severity with a blank"]


def test_severity_of_records_without_one(server):
    """W-C9: a level that was found in a line is as good as one that was written."""
    server.push({"app": "web"}, [(T, "level=error msg=a"), (T + 1, "WARN b"), (T + 2, "c"),
                                 (T + 3, "level=info but", {"severity": "Error"})])
    got = [(e["severity"], e["message"]) for e in server.get("/logs/web").json()["logs"]]
    assert got == [("Error", "level=error msg=a"), ("Warn", "WARN b"), ("", "c"), ("Error", "level=info but")]
    assert messages(server.get("/logs/web/Error")) == ["level=error msg=a", "level=info but"]
    assert messages(server.get("/logs/web/Info")) == []
    assert messages(server.get("/logs/web/error")) == []


def pages(server, path, **params):
    """All messages, page by page as the Link header tells."""
    found, sizes = [], []
    answer = server.get(path, params)
    while True:
        page = messages(answer)
        found += page
        sizes.append(len(page))
        link = answer.headers.get("Link")
        if not link:
            return found, sizes
        following = re.fullmatch(r'<(/logs/[^>]+)>; rel="next"', link).group(1)
        answer = server.get(following)


def test_pages(server):
    """W-C9: no search is without an end, and its order is that of time."""
    lines = [f"line {i}" for i in range(100)]
    # Written in another order than that of their times, which are mostly the same second.
    for i in (3, 1, 0, 2):
        put(server, "p", *[(n // 10, "Info" if n % 2 else "Error", lines[n]) for n in range(i, 100, 4)])
    expected = messages(server.get("/logs/p"))
    assert sorted(expected) == sorted(lines)
    assert [int(m.split()[1]) // 10 for m in expected] == [n // 10 for n in range(100)]
    assert pages(server, "/logs/p", limit=7) == (expected, [7] * 14 + [2])
    assert pages(server, "/logs/p", limit=50) == (expected, [50, 50, 0])
    assert pages(server, "/logs/p", limit=0) == (expected, [100])
    assert pages(server, "/logs/p", limit=9, direction="backward")[0] == expected[::-1]
    assert pages(server, "/logs/p/Info", limit=9, text="line 1")[0] == [
        m for m in expected if m.startswith("line 1") and int(m.split()[1]) % 2]


def test_pages_stand_still(server):
    put(server, "p", *[(i, "Info", f"old {i}") for i in range(10)])
    first = server.get("/logs/p", {"limit": 6})
    put(server, "p", *[(i, "Info", f"new {i}") for i in range(10)])
    rest = server.get(re.match("<([^>]+)>", first.headers["Link"]).group(1))
    assert messages(first) + messages(rest) == [f"old {i}" for i in range(10)]


def test_a_page_by_default(server):
    for start in range(0, 12000, 4000):
        put(server, "many", *[(0, "Info", str(i)) for i in range(start, start + 4000)])
    found, sizes = pages(server, "/logs/many")
    assert sizes == [10000, 2000]
    assert found == [str(i) for i in range(12000)]


def test_pages_of_long_lines(server):
    """An answer ends behind 32 MiB, whatever its limit."""
    for i in range(0, 60, 20):
        put(server, "long", *[(n, "Info", f"{n} " + "\x01" * 100_000) for n in range(i, i + 20)])
    found, sizes = pages(server, "/logs/long", limit=0)
    assert [int(m.split()[0]) for m in found] == list(range(60))
    assert len(sizes) == 2 and sizes[0] == 56


def test_time_and_text(server):
    put(server, "t", *[(i, "Info", f"a.b [{i}]") for i in range(10)])
    server.push({"app": "t"}, ["now"])
    at = lambda i: str((T + i * S) // S)
    assert messages(server.get("/logs/t", {"start": at(3), "end": at(5)})) == ["a.b [3]", "a.b [4]"]
    assert messages(server.get("/logs/t", {"since": "1h"})) == ["now"]
    assert messages(server.get("/logs/t", {"text": "b [7]"})) == ["a.b [7]"]
    assert messages(server.get("/logs/t", {"text": 'x" | line_format "'})) == []
    assert len(messages(server.get("/logs/t", {"start": "", "text": ""}))) == 11
    entry = server.get("/logs/t", {"zone": "Asia/Kolkata", "limit": 1}).json()["logs"][0]
    assert entry["timestamp"] == "2024-12-18 14:30:00"
    for zone in ("+02:00", "%2B02:00"):  # the + of a query is a blank
        entry = server.get(f"/logs/t?zone={zone}&limit=1").json()["logs"][0]
        assert entry["timestamp"] == "2024-12-18 11:00:00"
    server.push({"service_name": "other"}, [(T, "x")])
    assert messages(server.get("/logs/other", {"label": "service_name"})) == ["x"]


def test_other_servers(nodes):
    """The answer is that of all servers, and says so when one is missing."""
    def start(name, **more):
        s = nodes.server(start=False, name=name, **more)
        s.data = nodes.folder / name
        return s.start()

    one, two, gone = start("one"), start("two"), f"http://127.0.0.1:{sawlog.free_port()}"
    three = start("three", config=f"peers: ['{one.url}', '{two.url}']\n")
    for i, server in enumerate((one, two, three)):
        put(server, "shared", *[(3 * n + i, "Error", str(3 * n + i)) for n in range(10)])
    found, _ = pages(three, "/logs/shared/Error", limit=7)
    assert found == [str(i) for i in range(30)]
    assert pages(three, "/logs/shared", limit=4, local="true")[0] == [str(i) for i in range(2, 30, 3)]
    four = start("four", config=f"peers: ['{one.url}', '{gone}']\n")
    answer = four.get("/logs/shared")
    assert messages(answer) == [str(i) for i in range(0, 30, 3)]
    assert gone.removeprefix("http://") in answer.headers["X-Sawlog-Warning"]


def test_from_publisher_to_search(nodes, rabbit):
    """What the original's source sends is found by what its search answers, and what it discarded as well (W-C5, W-C10)."""
    sent = [("ServiceA", "Error", "Something happened"), ("ServiceA", "Info", ""), ("my.own.service", "Warn", "x"),
            ("My Service", "Error", "two\nlines"), ("ServiceA", "Audit", "Error in the text")]
    with rabbit.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare("logs_exchange", "topic")
        channel.queue_declare("logQueue", durable=True)
        channel.queue_bind("logQueue", "logs_exchange", "#")
        for i, (service, severity, text) in enumerate(sent):
            channel.basic_publish("logs_exchange", f"{service}.{severity}",
                                  f"2024-12-18 10:00:0{i} {service} {severity} {text}".rstrip(" "))
    server = nodes.server(env={"TZ": "Europe/Berlin"}, config=f"inputs:\n  - amqp: {{url: '{rabbit.url}'}}\n")
    sawlog.wait_for("all of it", lambda: len(server.lines("{}")) == len(sent), 60)
    for service in {service for service, _, _ in sent}:
        path = "/logs/" + urllib.parse.quote(service)
        expected = [(f"2024-12-18 10:00:0{i}", *entry) for i, entry in enumerate(sent) if entry[0] == service]
        found = server.get(path).json()["logs"]
        assert [(e["timestamp"], e["service"], e["severity"], e["message"]) for e in found] == expected
        for _, _, severity, text in expected:
            assert messages(server.get(f"{path}/{severity}")) == [text]


def test_bad_parameters(server):
    for params, why in (({"limit": "x"}, "limit: must be"), ({"start": "soon"}, "start: could not parse"),
                        ({"since": "x"}, "since: could not parse"), ({"direction": "up"}, "direction: must be"),
                        ({"cursor": "1.2"}, "cursor:"), ({"zone": "Mars/Base"}, "zone:"),
                        ({"label": "a-b"}, "label:"), ({"start": "5", "end": "4"}, "end must not be before")):
        answer = server.get("/logs/a", params)
        assert answer.status == 400 and why in answer.text, (params, answer.text)


def test_tenants_are_apart(server):
    server.push({"app": "x"}, [(T, "a")], tenant="one")
    assert messages(server.get("/logs/x")) == []
    assert messages(server.get("/logs/x", headers={"X-Scope-OrgID": "one"})) == ["a"]


def test_records_of_today_are_found_at_once(server):
    for i in range(20):
        server.push({"app": "live"}, [(time.time_ns(), str(i), {"severity": "Warn"})])
        assert messages(server.get("/logs/live/Warn"))[-1] == str(i)
