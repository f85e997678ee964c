# SPDX-License-Identifier: Apache-2.0
"""Growth: what ten times the data and ten thousand streams cost.

The same lines are pushed over HTTP, numbered in time, so that a store holds one or ten days of
them, or the same lines in sixteen or in ten thousand streams.
"""
import http.client
import json
import os
import shutil
import time
from pathlib import Path
from urllib.parse import urlencode

import sawlog

MB = 1e6
DAY = 86400 * 10**9
REPEAT = 15


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Store:
    def __init__(self, folder, lines):
        shutil.rmtree(folder, ignore_errors=True)
        self.server = sawlog.Server(folder, config="memory: 128MiB\n").start()
        self.lines, self.started = lines, cpu(self.server.child.pid)
        self.conn = http.client.HTTPConnection("127.0.0.1", self.server.port)
        self.origin = time.time_ns() // DAY * DAY - 20 * DAY

    def push(self, day, streams):
        """All lines once, evenly over a day, line i in stream i modulo streams."""
        step, a_body = DAY // len(self.lines), 5000
        for at in range(0, len(self.lines), a_body):
            by = {}
            for i, line in enumerate(self.lines[at:at + a_body], at):
                by.setdefault(i * 7919 % streams, []).append([str(self.origin + day * DAY + i * step), line])
            body = json.dumps({"streams": [{"stream": {"app": "growth", "pod": f"p{s}"}, "values": v}
                                           for s, v in by.items()]}).encode()
            while True:
                self.conn.request("POST", "/loki/api/v1/push", body, {"Content-Type": "application/json"})
                answer = self.conn.getresponse()
                text = answer.read()
                if answer.status == 204:
                    break
                assert answer.status in (429, 503), text
                time.sleep(0.05)

    def settle(self):
        for path in ("/-/flush", "/api/v1/store/settle"):
            assert self.server.call("POST", path, timeout=600).status == 200

    def bytes(self):
        return sum(f.stat().st_size for f in (self.server.data / "parts").rglob("*") if f.is_file())

    def cpu(self):
        return cpu(self.server.child.pid) - self.started

    def ask(self, query, from_ns, to_ns):
        took = []
        for _ in range(REPEAT):
            start = time.monotonic()
            self.conn.request("GET", "/loki/api/v1/query_range?" + urlencode(
                {"query": query, "start": from_ns, "end": to_ns, "limit": 100}))
            answer = self.conn.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            took.append((time.monotonic() - start) * 1e3)
        return sorted(took)[REPEAT // 2]

    def close(self):
        self.server.close()


def lines_of(files, size):
    lines, share = [], size // len(files)
    for f in files:
        with f.open("rb") as text:
            lines.append(text.read(share).decode("utf-8", "replace").split("\n")[1:-1])
    # Mixed, as a day's are.
    return [line for group in zip(*lines) for line in group]


def measure(folder, files, report):
    lines = lines_of(files, 32 << 20)
    took = {}
    for days in (1, 10):
        store = Store(folder, lines)
        for day in range(days):
            chosen = lines
            if day == 0:
                chosen = lines[:len(lines) // 2] + ["the needle zQ4kLw91xPv2Rt"] + lines[len(lines) // 2:]
            store.lines = chosen
            store.push(day, 16)
        store.settle()
        whole = (store.origin, store.origin + days * DAY)
        noon = store.origin + DAY // 2
        took[days] = (store.ask('{app="growth"} |= "zQ4kLw91xPv2Rt"', *whole),
                      store.ask('{app="growth"}', noon, noon + 3600 * 10**9))
        store.close()
        shutil.rmtree(folder)
    for i, name in enumerate(("needle", "one-hour window")):
        report.add(f"growth: {name}, {sum(map(len, lines)) / MB:.0f} MB", took[1][i], "ms")
        report.add(f"  ten times the data (goal 2), {name}", took[10][i] / took[1][i], "x")
    cost = {}
    for streams in (16, 10_000):
        store = Store(folder, lines)
        store.push(0, streams)
        store.settle()
        cost[streams] = (store.bytes(), store.cpu())
        store.close()
        shutil.rmtree(folder)
    report.add("growth: part bytes of 10,000 streams / 16 (goal 1.3)", cost[10_000][0] / cost[16][0], "x")
    report.add("growth: server CPU of 10,000 streams / 16 (goal 1.3)", cost[10_000][1] / cost[16][1], "x")
