# SPDX-License-Identifier: Apache-2.0
"""Routers with their servers, and kills -9 of both in mid-flow, with the audit after it."""
import contextlib
import json
import random
import signal
import time

import crash
import sawlog
from sawlog import wait_for


class Made:
    """Servers and routers, each in a folder of its own, ended by close()."""

    def __init__(self, folder):
        self.folder, self.nodes = folder, []

    def server(self, name, start=True, **kw):
        s = sawlog.Server(self.folder / name, name=name, **kw)
        self.nodes.append(s)
        return s.start() if start else s

    def router(self, name, zones, start=True, binary=None, **settings):
        """Settings are those of `route`, but for `inputs`."""
        r = sawlog.Router(self.folder / name, name=name, config="{}", binary=binary or sawlog.SAWLOG)
        r.settings = settings
        self.nodes.append(r)
        self.configure(r, zones)
        return r.start() if start else r

    def configure(self, router, zones):
        route = {k: v for k, v in router.settings.items() if k != "inputs"}
        route["zones"] = {zone: [s.url for s in servers] for zone, servers in zones.items()}
        router.config.write_text(json.dumps({"route": route, "inputs": router.settings.get("inputs", [])}))

    def close(self):
        for n in reversed(self.nodes):
            n.close()
        self.nodes = []


class SpreadPusher(crash.Pusher):
    """Pushes of several apps at once, so that each is divided."""

    PAUSE = 0.1

    def request(self, lines):
        streams = {}
        now = time.time_ns()
        for n, text in lines:
            streams.setdefault(f"{self.who}-{n % 7}", []).append([str(now + n % 1000), text])
        body = json.dumps({"streams": [{"stream": {"app": app, "who": self.who}, "values": v}
                                       for app, v in streams.items()]}).encode()
        return self.server.call("POST", "/loki/api/v1/push", body, {"Content-Type": "application/json"}).status


def campaign(made, kills, seed, binary=None, name="f"):
    """Two routers before two servers; pushes to both, and a forwarder that knows both."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    servers = [made.server(f"{name}-{n}") for n in "ab"]
    routers = [made.router(f"{name}-r{n}", {"z": servers}, spill_after="100ms", binary=binary) for n in "12"]
    log = made.folder / f"{name}.log"
    log.touch()
    forwarder = sawlog.Forwarder(made.folder / f"{name}-f", ",".join(r.url for r in routers), [log],
                                 args=("--failover_after", "500ms", "--return_after", "1s"))
    made.nodes.append(forwarder)
    forwarder.start()
    wait_for("the forwarder follows the file", (forwarder.data / "file" / "positions").exists)
    # All are slow enough for the audit, which reads each line, to take less time than the kills.
    writer = crash.Writer(log, seed + 1, pause=0.2)
    pushers = [SpreadPusher(f"{name}p{i}", routers[i % 2], seed + 2 + i) for i in range(4)]
    for t in (writer, *pushers):
        t.start()
    for _ in range(kills):
        time.sleep(rng.uniform(0.1, 0.6))
        wait_for("a push is in flight", lambda: any(p.in_flight for p in pushers))
        down = rng.choice([[servers[0]], [servers[1]], [routers[0]], [routers[1]], [routers[0], servers[1]],
                           [servers[0], routers[1]], servers])
        for node in down:
            node.kill(signal.SIGKILL)
        time.sleep(rng.uniform(0, 0.8))
        rng.shuffle(down)
        for node in down:
            node.start()
    for t in (writer, *pushers):
        t.end = True
        t.join(sawlog.PATIENCE)
    return audit(servers, routers, writer, pushers, name) | {"routes": kills}


def audit(servers, routers, writer, pushers, name):
    def settled():
        return all(r.metric("sawlog_route_buffer_bytes") + r.metric("sawlog_route_memory_bytes") == 0 for r in routers)

    def lines(selector):
        return [line for s in servers for line in s.lines(selector)]

    def count(server, selector):
        result = server.get("/loki/api/v1/query", {"query": f"sum(count_over_time({selector}[10y]))"}).json()
        assert "warnings" not in result
        return sum(int(float(r["value"][1])) for r in result["data"]["result"])

    wait_for("the buffers are empty", settled, 60)
    total = 0
    for p in pushers:
        stored = lines(f'{{who="{p.who}"}}')
        missing = set(p.acked) - set(stored)
        assert not missing, f"{p.who}: {len(missing)} acknowledged lines are missing"
        assert len(set(stored)) == len(stored), f"{p.who}: {len(stored) - len(set(stored))} lines are stored twice"
        assert set(stored) <= p.sent, f"{p.who}: lines nobody sent"
        total += len(stored)
    mine = f'{{app="{name}", input="file"}}'
    with contextlib.suppress(AssertionError):  # what is missing is told below
        wait_for("the forwarder caught up", lambda: sum(count(s, mine) for s in servers) >= len(writer.lines), 30)
    got = lines(mine)
    missing = len(set(writer.lines) - set(got))
    assert not missing, f"{missing} acknowledged lines of the file are missing"
    assert len(got) == len(set(got)), f"{len(got) - len(set(got))} lines of the file are stored twice"
    assert set(got) == set(writer.lines), "lines of the file that nobody wrote"
    total += len(got)
    assert count(routers[0], '{app=~".+"}') == sum(count(s, '{app=~".+"}') for s in servers) >= total
    return {"lines": total}
