# SPDX-License-Identifier: Apache-2.0
"""`sawlog route`: which server gets what, servers that go and come back, answers of all zones, and what is refused."""
import json
import os
import signal
import socket
import time

import pytest
import routes
import sawlog
from loggregator import Emitter
from sawlog import wait_for


@pytest.fixture
def made(tmp_path):
    m = routes.Made(tmp_path)
    yield m
    m.close()


def push(router, app, lines, **kw):
    answer = router.push({"app": app}, lines, **kw)
    assert answer.status == 204, answer.text


def count(server, local=False):
    params = {"query": 'sum(count_over_time({app=~".+"}[10y]))'}
    if local:
        params["local"] = "true"
    result = server.get("/loki/api/v1/query", params).json()
    return int(float(result["data"]["result"][0]["value"][1])) if result["data"]["result"] else 0


def test_modulo_as_loggregator(made):
    """The vectors of Loggregator's hasher, from the datagram to the server."""
    udp = sawlog.free_port()
    a, b = made.server("a"), made.server("b")
    router = made.router("r", {"z": [a, b]}, scheme="modulo",
                         inputs=[{"loggregator": {"listen": [f"udp://127.0.0.1:{udp}"], "shared_secret": "s"}}])
    apps = {"app1": 1, "app2": 0, "0": 0, "1": 1, "appId": 0, "appId23": 1}
    for app in apps:
        with Emitter(("127.0.0.1", udp), app, "s") as emitter:
            emitter.emit(f"of {app}")
        push(router, app, [f"pushed for {app}"])
    wait_for("all lines", lambda: count(router) == 2 * len(apps))
    for app, place in apps.items():
        for i, s in enumerate((a, b)):
            lines = s.lines(f'{{app="{app}"}}')
            assert sorted(lines) == sorted([f"of {app}", f"pushed for {app}"] if i == place else []), app


def test_one_more_server_moves_its_share_alone(made):
    """Rendezvous: with a third server only what it gets moves, and all is still found."""
    servers = [made.server(n) for n in "abc"]
    router = made.router("r", {"z": servers[:2]})
    apps = [f"app{i}" for i in range(60)]

    def place():
        return {app: [i for i, s in enumerate(servers) if s.lines(f'{{app="{app}"}}')] for app in apps}

    for app in apps:
        push(router, app, ["first"])
    before = place()
    assert all(len(p) == 1 for p in before.values())
    assert {p[0] for p in before.values()} == {0, 1}
    router.stop()
    made.configure(router, {"z": servers})
    router.start()
    for app in apps:
        push(router, app, ["second"])
    after = place()
    moved = [app for app in apps if 2 in after[app]]
    assert 8 <= len(moved) <= 35
    assert all(after[app] == before[app] for app in apps if app not in moved)
    assert count(router) == 2 * len(apps)


def test_a_server_is_away(made):
    """Pushes go on while a server is away, and reach it in order once it is back; also by the next life of the
    router, which was killed meanwhile."""
    a, b = made.server("a"), made.server("b")
    router = made.router("r", {"z": [a, b]}, spill_after="200ms")
    apps = [f"app{i}" for i in range(10)]
    for app in apps:
        push(router, app, ["0"])
    at_b = [app for app in apps if b.lines(f'{{app="{app}"}}')]
    assert 0 < len(at_b) < len(apps)
    b.kill()
    for n in range(1, 6):
        for app in apps:
            push(router, app, [str(n)])
    waiting = router.metric("sawlog_route_buffer_bytes")
    assert waiting > 0
    router.kill(signal.SIGKILL)
    router.start()
    assert router.metric("sawlog_route_buffer_bytes") == waiting
    for app in apps:
        push(router, app, ["6"])
    b.start()
    wait_for("the buffer is empty", lambda: router.metric("sawlog_route_buffer_bytes") == 0)
    for app in apps:
        assert router.lines(f'{{app="{app}"}}') == list("0123456"), app
    # In the order in which they were sent, not by their times alone.
    for app in at_b:
        page = b.query(f'{{app="{app}"}}', direction="forward", seq="true")
        assert [v[1] for s in page["data"]["result"] for v in s["values"]] == list("0123456")
    wait_for("it says so", lambda: router.metric("sawlog_route_connected", server=b.url) == 1)


def test_back_pressure(made):
    """A buffer that is full refuses with 503 and says of whom; what was acknowledged arrives."""
    a = made.server("a")
    router = made.router("r", {"z": [a]}, spill_after="0s", buffer="16MiB")
    push(router, "app", ["first"])
    a.kill()
    acked, answer = 1, None
    line = "x" * 100_000
    for i in range(400):
        answer = router.push({"app": "app"}, [f"{i} {line}"])
        if answer.status != 204:
            break
        acked += 1
    assert answer.status == 503 and answer.headers["Retry-After"] == "1", answer.text
    assert a.url in answer.text and "zone z" in answer.text
    assert 100 < acked < 200
    a.start()
    wait_for("all are there", lambda: count(a) == acked)
    push(router, "app", ["last"])
    assert router.metric("sawlog_rejected_records_total", reason="disk_full") == 1


def test_zones(made):
    """Records go to the router's own zone; answers come from all; what is missing is named with its zone."""
    near, far = [made.server("n1"), made.server("n2")], [made.server("f1")]
    zones = {"near": near, "far": far}
    r1 = made.router("r1", zones, zone="near")
    r2 = made.router("r2", zones, zone="far")
    for i in range(20):
        push(r1, f"near{i}", ["of the near zone"])
        push(r2, f"far{i}", ["of the far zone"])
    assert sum(count(s) for s in near) == 20 and count(far[0]) == 20
    assert count(r1) == count(r2) == 40
    assert sorted(r1.entries("{}")) == sorted(r2.entries("{}"))
    far[0].kill()
    answer = r1.query("{}")
    assert len(answer["warnings"]) == 1
    assert answer["warnings"][0].startswith(f"zone far: {far[0].url}: ")
    assert len(r1.lines("{}")) == 20
    # A zone of no servers hides nothing of the other, nor its pushes.
    push(r1, "near0", ["still"])
    answer = r2.push({"app": "far0"}, ["kept"])
    assert answer.status == 204, answer.text
    far[0].start()
    wait_for("all of both", lambda: count(r1) == 42)


def test_forwarder_over_two_routers(made, tmp_path):
    """A forwarder goes from one router to another while the first has lines of its file in the buffer: they come late,
    and are stored all the same, each once."""
    a = made.server("a")
    r1 = made.router("r1", {"z": [a]}, spill_after="100ms")
    r2 = made.router("r2", {"z": [a]}, spill_after="100ms")
    log = tmp_path / "app.log"
    log.write_text("")
    f = sawlog.Forwarder(tmp_path, f"{r1.url},{r2.url}", [log], args=("--failover_after", "1s", "--return_after", "1h"))
    made.nodes.append(f)
    f.start()

    def write(first, n):
        with open(log, "a") as out:
            out.writelines(f"line {i}\n" for i in range(first, first + n))

    write(0, 100)
    wait_for("the first lines", lambda: count(a) == 100)
    a.kill()
    write(100, 100)
    wait_for("they are in the buffer", lambda: r1.metric("sawlog_route_buffer_bytes") > 0)
    r1.kill()
    a.start()
    write(200, 100)
    wait_for("the lines behind them", lambda: count(a) == 200, seconds=30)
    r1.start()
    wait_for("the late ones", lambda: count(a) == 300, seconds=30)
    assert sorted(a.lines("{}")) == sorted(f"line {i}" for i in range(300))
    # Once more over the first one, as if nothing had been acknowledged.
    f.stop()
    again = sawlog.Forwarder(tmp_path, r2.url, [log], name="again")
    made.nodes.append(again)
    again.start()
    wait_for("all again", lambda: r2.metric("sawlog_received_records_total") >= 300)
    time.sleep(0.5)
    assert len(a.lines("{}")) >= 300


def test_a_server_leaves_the_zone(made):
    """What waits for a server that is no longer in the configuration goes to those that are."""
    a, b = made.server("a"), made.server("b")
    router = made.router("r", {"z": [a, b]}, spill_after="100ms")
    b.kill()
    for i in range(20):
        push(router, f"app{i}", ["line"])
    at_a = count(a)
    assert at_a < 20
    router.stop()
    made.configure(router, {"z": [a]})
    router.start()
    wait_for("all are at the other", lambda: count(a) == 20)
    wait_for("its folder is gone", lambda: [str(a.port) in name for name in os.listdir(router.data / "route")] == [True])


def containers(folder, router):
    """A forwarder's configuration, and files of two streams each: a batch of one file is divided."""
    logs = folder / "logs"
    logs.mkdir()
    for i in range(8):
        (logs / f"app{i}.log").write_text("".join(
            f"2026-01-01T00:00:0{n}Z {'stdout' if n % 2 else 'stderr'} F line {n} of {i}\n" for n in range(10)))
    conf = folder / "forward.yaml"
    conf.write_text(json.dumps({"url": router.url, "inputs": [{"file": {"paths": [f"{logs}/*.log"], "format": "cri"}}]}))
    return sawlog.Forwarder(folder, router.url, [], args=("-c", str(conf)))


def test_a_forwarders_server_leaves_the_zone(made, tmp_path):
    """What waits for a server that is no longer there goes to one that has the rest of the same files."""
    a, b = made.server("a"), made.server("b")
    router = made.router("r", {"z": [a, b]}, spill_after="100ms")
    b.kill()
    made.nodes.append(containers(tmp_path, router).start())
    wait_for("all is acknowledged", lambda: router.metric("sawlog_committed_records_total", input="file") == 80)
    assert 0 < count(a) < 80
    router.stop()
    made.configure(router, {"z": [a]})
    router.start()
    wait_for("all is at the other", lambda: count(a) == 80)


def test_a_server_leaves_with_half_of_a_batch(made, tmp_path):
    """A batch that one server has and another one does not answer is sent again when the other one is gone: its lines
    are at the first one then, those it had before twice at worst."""
    a, b = made.server("a"), made.server("b")
    router = made.router("r", {"z": [a, b]}, spill_after="1h")
    b.child.send_signal(signal.SIGSTOP)
    made.nodes.append(containers(tmp_path, router).start())
    wait_for("one has its share", lambda: a.metric("sawlog_committed_records_total", input="file") > 0)
    router.kill()
    made.configure(router, {"z": [a]})
    router.start()
    wait_for("all of them", lambda: len({(line, s["stream"]) for _, line, s in a.entries('{input="file"}')}) == 80)


def test_what_servers_do(made):
    """Deletions, rules and the like are carried out by servers: a router says where to ask."""
    a = made.server("a")
    router = made.router("r", {"z": [a]})
    for method, path in (("POST", "/loki/api/v1/delete?query=%7Bapp%3D%22a%22%7D"), ("GET", "/loki/api/v1/delete"),
                         ("POST", "/loki/api/v1/rules/x"), ("DELETE", "/loki/api/v1/rules/x/y"),
                         ("POST", "/api/v1/silences"), ("GET", "/api/v1/outputs"), ("GET", "/api/v1/drains"),
                         ("POST", "/api/v1/drains"), ("DELETE", "/api/v1/drains/drain-1"), ("GET", "/api/v1/notifiers")):
        answer = router.call(method, path, b"" if method == "POST" else None)
        assert answer.status == 501 and a.url in answer.text, (path, answer.status, answer.text)
    done = sawlog.run("drain", "add", "shop", "syslog://logs.example.com", "--addr", router.url)
    assert done.returncode == 2 and a.url in done.stderr.decode(), done.stderr
    assert "router of zone z: records go to 1 servers, answers come from 1\n" in router.out


def test_routers_that_name_routers(made):
    """Itself, or each other: a record would go round for ever.  It waits at the router that took it, whose log says why,
    and goes to the servers that the zone names later."""
    a = made.server("a")
    one, two = (made.router(name, {"z": []}, start=False, spill_after="100ms") for name in ("one", "two"))
    made.configure(one, {"z": [one, two]})
    made.configure(two, {"z": [one]})
    one.start(), two.start()
    for i in range(8):
        push(one, f"app{i}", ["round and round"])
    wait_for("it is told", lambda: "takes nothing from routers: their route.zones" in one.err)
    assert [r.metric("sawlog_route_records_total") for r in (one, two)] == [0, 0]
    one.stop()
    made.configure(one, {"z": [a]})
    one.start()
    wait_for("all are there", lambda: count(a) == 8)


@pytest.mark.parametrize("route, said", [
    ({}, "route.zones is missing"),
    ({"zones": {"a": ["http://h:1"], "b": ["http://i:1"]}}, "route.zone is missing"),
    ({"zone": "c", "zones": {"a": ["http://h:1"]}}, 'there is no zone "c"'),
    ({"zones": {"a": ["http://h:1", "http://h:1/"]}}, "http://h:1/ is named twice"),
    ({"zone": "a", "zones": {"a": ["http://h:1"], "b": ["http://h:1"]}}, "http://h:1 is named twice (also in a)"),
    ({"zones": {"a": ["h:1"]}}, "route.zones.a: "),
    ({"zones": {"a": ["http://h:1"]}, "scheme": "modulus"}, 'modulo'),
])
def test_wrong_settings(tmp_path, route, said):
    conf = tmp_path / "r.yaml"
    conf.write_text(json.dumps({"route": route}))
    r = sawlog.run("route", "-c", conf, "--data", tmp_path / "d", "--http", "127.0.0.1:0")
    assert r.returncode == 78 and said in r.stderr.decode(), r.stderr


def test_roles_are_told_apart(tmp_path):
    conf = tmp_path / "r.yaml"
    zones = {"route": {"zones": {"a": ["http://h:1"]}}}
    conf.write_text(json.dumps(zones))
    r = sawlog.run("serve", "-c", conf, "--data", tmp_path / "d")
    assert r.returncode == 78 and b"sawlog route -c" in r.stderr
    r = sawlog.run("check", conf)
    assert r.returncode == 0 and b"ok for sawlog route" in r.stdout
    for key, value in (("outputs", [{"stdout": {"name": "x"}}]), ("peers", ["http://h:2"]),
                       ("alerts", {"ready": [{"errors": {}}]})):
        conf.write_text(json.dumps({**zones, key: value}))
        r = sawlog.run("check", conf)
        assert r.returncode == 78 and f"{key}: a router".encode() in r.stderr, r.stderr


def test_the_example(made, monkeypatch):
    servers = [made.server(n) for n in "abc"]
    port = sawlog.free_port()
    for name, s in zip("ABC", servers):
        monkeypatch.setenv(name, s.url)
    monkeypatch.setenv("SYSLOG_PORT", str(port))
    router = sawlog.Router(made.folder / "r", config=(sawlog.ROOT / "examples/route.yaml").read_text())
    made.nodes.append(router)
    router.start()
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"<14>1 - h shop - - - over syslog\n")
    r = sawlog.run("emit", "--app", "shop", f"loki={router.url}", stdin=b"hello\n")
    assert r.returncode == 0, r.stderr
    wait_for("the lines", lambda: sorted(router.lines("{}")) == ["hello", "over syslog"])
    assert servers[2].lines("{}") == []


def test_dump(made):
    a = made.server("a")
    router = made.router("r", {"z": [a]})
    push(router, "app", ["line"])
    router.child.send_signal(signal.SIGUSR1)
    wait_for("the dump", lambda: f"{a.url}: connected" in router.out)
    assert "route: zone z, 1 servers" in router.out


def test_kills(made):
    """Routers and servers are killed in mid-flow: nothing acknowledged is lost, nothing is stored twice."""
    result = routes.campaign(made, kills=8, seed=int(os.environ.get("SAWLOG_SEED", "1")))
    assert result["lines"] > 1000


@pytest.mark.skipif(not os.path.exists(sawlog.SAWLOG + "-mutant-route"), reason="built without SAWLOG_MUTANTS")
def test_a_router_that_forgets_is_caught(made):
    """The positive control: a build whose router loses its buffer at a restart."""
    with pytest.raises(AssertionError, match="acknowledged"):
        for seed in range(1, 5):
            routes.campaign(made, kills=6, seed=seed, binary=sawlog.SAWLOG + "-mutant-route", name=f"m{seed}")
