# SPDX-License-Identifier: Apache-2.0
"""Kills -9 of server and forwarder under load, and the audit after it.

Three senders keep a ledger of what was acknowledged: a file that a forwarder
tails (exactly once, in order), Loki pushes and batch API posts (an
acknowledged line is there once; one in flight at a kill may be there, once,
for a failed request is never sent again).
"""
import json
import random
import signal
import threading
import time
import urllib.error

import sawlog


class Pusher(threading.Thread):
    """Pushes numbered lines one request after the other; `acked` are those answered with success."""

    PAUSE = 0  # s behind each

    def __init__(self, name, server, seed):
        super().__init__(daemon=True)
        self.who, self.server, self.random = name, server, random.Random(seed)
        self.acked, self.sent, self.in_flight, self.end = [], set(), 0, False

    def request(self, lines):
        raise NotImplementedError

    def run(self):
        n = 0
        while not self.end:
            lines = [(n + i, f"{self.who} line {n + i} {self.random.random()} \t\"é\\") for i in
                     range(self.random.randint(1, 200))]
            n += len(lines)
            self.sent.update(text for _, text in lines)
            self.in_flight = len(lines)
            try:
                if self.request(lines) in (200, 204):
                    self.acked += [text for _, text in lines]
                    self.in_flight = 0
                    time.sleep(self.PAUSE)
                    continue
            except (OSError, urllib.error.URLError, ConnectionError):
                pass
            self.in_flight = 0
            time.sleep(0.01)


class LokiPusher(Pusher):
    def request(self, lines):
        return self.server.push({"app": self.who}, [text for _, text in lines]).status


class BatchPusher(Pusher):
    def request(self, lines):
        batch = [{"uuid": "u", "host": "h", "file": f"/{self.who}", "line-num": n, "content": text}
                 for n, text in lines]
        body = json.dumps({"batch": batch, "size": len(batch)}).encode()
        return self.server.call("POST", "/store/batch", body, {
            "Content-Type": "application/json", "Accept": "application/json"}).status


class Writer(threading.Thread):
    """An application that appends to its log, some 150 lines each `pause` s at the most; now and then it is rotated."""

    def __init__(self, path, seed, pause=0.01):
        super().__init__(daemon=True)
        self.path, self.random, self.pause = path, random.Random(seed), pause
        self.lines, self.end, self.rotations = [], False, 0

    def run(self):
        f = open(self.path, "ab", buffering=0)
        while not self.end:
            some = [f"file line {len(self.lines) + i} {self.random.random()}" for i in
                    range(self.random.randint(1, 300))]
            data = "".join(line + "\n" for line in some).encode()
            cut = self.random.randint(0, len(data))
            f.write(data[:cut])
            time.sleep(0.001)
            f.write(data[cut:])
            self.lines += some
            if self.random.random() < 0.02:
                f.close()
                self.rotations += 1
                self.path.rename(f"{self.path}.{self.rotations}")
                f = open(self.path, "ab", buffering=0)
            time.sleep(self.random.random() * self.pause)
        f.close()


class Keeper(threading.Thread):
    """Has the server build a part of what there is, many times a second, so that parts are merged,
    and deletes lines that nobody counts, so that parts are written anew."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.asked, self.end = server, 0, False

    def run(self):
        while not self.end:
            try:
                self.server.push({"app": "gone"}, [f"gone {self.asked} {i}" for i in range(50)])
                self.server.call("POST", "/-/flush")
                if self.asked % 5 == 0:
                    self.server.call("POST", "/loki/api/v1/delete?query=%7Bapp%3D%22gone%22%7D")
                self.asked += 1
            except (OSError, urllib.error.URLError, ConnectionError):
                pass
            time.sleep(0.01)


def campaign(nodes, kills, seed, seconds=None, mutant=False, upkeep=False):
    """Run `kills` kills (or `seconds` of them), then audit.  Returns what was counted.
    With `mutant` the server is the build that stores resent records again; with `upkeep` parts are
    merged and written anew all the time."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    log = nodes.folder / "app.log"
    log.touch()
    config = "memory: 64MiB\n" + "retention: {delete_wait: 0s}\n" * upkeep
    server = nodes.server(config=config, binary=sawlog.SAWLOG + "-mutant" * mutant)
    forwarder = nodes.forwarder(server, log)
    # Files that are rotated before they are first followed are nobody's.
    positions = forwarder.data / "file" / "positions"
    sawlog.wait_for("the forwarder follows the file", positions.exists)
    writer = Writer(log, seed + 1)
    pushers = [LokiPusher("push0", server, seed + 2), LokiPusher("push1", server, seed + 3),
               BatchPusher("batch0", server, seed + 4)]
    keepers = [Keeper(server)] * upkeep
    for t in [writer, *pushers, *keepers]:
        t.start()
    done, counts = 0, {"server": 0, "forwarder": 0, "both": 0}
    until = time.monotonic() + seconds if seconds else None
    while time.monotonic() < until if until else done < kills:
        time.sleep(rng.uniform(0.05, 0.4))
        who = rng.choice(["server", "server", "forwarder", "both"])
        # Strike only while something is under way.
        if who == "forwarder":
            before = len(writer.lines)
            sawlog.wait_for("the application writes", lambda: len(writer.lines) > before)
        else:
            sawlog.wait_for("a push is in flight", lambda: any(p.in_flight for p in pushers))
        if who in ("server", "both"):
            server.kill(signal.SIGKILL)
        if who in ("forwarder", "both"):
            forwarder.kill(signal.SIGKILL)
        counts[who] += 1
        done += 1
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, 0.2))
        if not server.running:
            server.start()
        if not forwarder.running:
            forwarder.start()
    for t in [writer, *pushers, *keepers]:
        t.end = True
        t.join(sawlog.PATIENCE)
    return audit(server, forwarder, writer, pushers, upkeep) | counts


def audit(server, forwarder, writer, pushers, upkeep):
    want = writer.lines

    def arrived():
        result = server.get("/loki/api/v1/query", {
            "query": 'sum(count_over_time({app="app", input="file"}[10y]))'}).json()["data"]["result"]
        return result and int(float(result[0]["value"][1])) >= len(want)

    sawlog.wait_for("the forwarder caught up", arrived, 60)
    got = server.lines('{app="app", input="file"}')
    assert len(got) == len(want), f"{len(got)} lines of the file stored, {len(want)} written"
    for i, (a, b) in enumerate(zip(got, want)):
        assert a == b, f"line {i}: stored {a!r}, written {b!r}"
    total = len(got)
    for p in pushers:
        selector = f'{{app="{p.who}"}}' if isinstance(p, LokiPusher) else f'{{file="/{p.who}"}}'
        stored = server.lines(selector)
        assert len(set(stored)) == len(stored), f"{p.who}: a line is stored twice"
        missing = set(p.acked) - set(stored)
        assert not missing, f"{p.who}: {len(missing)} acknowledged lines are missing"
        strange = set(stored) - p.sent
        assert not strange, f"{p.who}: lines nobody sent: {list(strange)[:3]}"
        order = {text: i for i, text in enumerate(stored)}
        places = [order[text] for text in p.acked]
        assert places == sorted(places), f"{p.who}: out of order"
        total += len(stored)
    m = server.metrics()

    def total_of(name):
        return sum(v for k, v in m.items() if k.startswith(f"sawlog_{name}"))

    received = total_of("received_records_total")
    accounted = sum(map(total_of, ["committed_records_total", "deduplicated_records_total",
                                   "rejected_records_total", "dropped_records_total"]))
    assert received == accounted, f"received {received}, accounted for {accounted}"
    if upkeep:
        assert server.call("POST", "/loki/api/v1/delete?query=%7Bapp%3D%22gone%22%7D").status == 204
        assert server.lines('{app="gone"}') == []
        assert server.call("POST", "/-/flush").status == 200
        assert server.call("POST", "/api/v1/store/settle").status == 200
        kept = sum(1 for _ in (server.data / "parts").glob("*.part"))
        assert kept < 40 and total_of("parts") > 0, f"{kept} parts are left"
    else:
        assert total_of("committed_records_total") == total, "committed is not what is stored"
    return {"lines": total, "rotations": writer.rotations,
            "deduplicated": total_of("deduplicated_records_total")}
