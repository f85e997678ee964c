#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two zones of two servers and a router each: how fast a router hands lines on, and how late a tail through it is.

    SAWLOG=build/release/sawlog bench/zones.py [SECONDS]

Lines are pushed over HTTP to the router of zone a, 1000 in a request over 20 streams, by one connection: first as fast
as they are taken, then half as fast, while 100 datagrams a second are sent to it and looked for in tails at both
routers.  CPU is that of the processes named; all of them share the machine with this program.
"""
import http.client
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/scenario"))
import sawlog  # noqa: E402
import zones  # noqa: E402
from loggregator import Emitter  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
MARK = b"1111111111111111"  # the first digits of a time, put in anew for each request


def cpu(*nodes):
    total = 0
    for n in nodes:
        fields = Path(f"/proc/{n.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / TICK
    return total


class Pusher(threading.Thread):
    """`rate` lines a second, 0: as fast as they are taken."""

    LINES = 1000

    def __init__(self, router, rate=0):
        super().__init__(daemon=True)
        self.router, self.rate, self.n, self.bytes, self.ended = router, rate, 0, 0, threading.Event()
        streams = []
        for app in range(20):
            values = ",".join(
                f'["{MARK.decode()}{app * 50 + i:03}","GET /api/v1/items/{i * 7919 % 100003}?page={i % 17} took '
                f'{i * 31 % 9973} us for user{i % 500} in zone a, status=200 bytes={i * 13}"]' for i in range(50))
            streams.append(f'{{"stream":{{"app":"load-{app:02}","source":"APP/0"}},"values":[{values}]}}')
        self.body = ('{"streams":[' + ",".join(streams) + "]}").encode()
        self.start()

    def run(self):
        connection = http.client.HTTPConnection(self.router.host, self.router.port)
        began = time.monotonic()
        while not self.ended.is_set():
            body = self.body.replace(MARK, str(time.time_ns() // 1000).encode())
            connection.request("POST", "/loki/api/v1/push", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 204:
                assert answer.status in (429, 503), answer.status
                time.sleep(0.02)
                continue
            self.n += self.LINES
            ahead = self.rate and self.n / self.rate - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)

    def stop(self):
        self.ended.set()
        self.join()


class Probe(zones.LokiFollower):
    """When each probe came."""

    def __init__(self, router):
        self.at = {}
        super().__init__(router, '{app="probe"}')

    def take(self):
        for s in self.tail.frame()["streams"]:
            now = time.monotonic()
            for _, line, *_ in s["values"]:
                self.at[int(line.split()[1])] = now


def full_speed(two, seconds):
    """Lines a second."""
    router, servers = two.routers["a"], two.servers["a"]
    push, used, used_by_servers, began = Pusher(router), cpu(router), cpu(*servers), time.monotonic()
    time.sleep(seconds)
    push.stop()
    wall, used, used_by_servers = time.monotonic() - began, cpu(router) - used, cpu(*servers) - used_by_servers
    print(f"through a router, acknowledged     {push.n / wall:12,.0f} lines/s")
    print(f"  by the router's CPU              {push.n / used:12,.0f} lines/CPU-s")
    print(f"  by that of the zone's servers    {push.n / used_by_servers:12,.0f} lines/CPU-s")
    return push.n / wall


def latency(two, seconds, rate):
    push = Pusher(two.routers["a"], rate) if rate else None
    tails = {f"router {z}": Probe(two.routers[z]) for z in "ab"}
    time.sleep(1)
    sent, began = [], time.monotonic()
    with Emitter(two.udp["a"], "probe", zones.SECRET) as emitter:
        for i in range(int(seconds * 100)):
            pause = began + i / 100 - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            datagram = emitter.datagram(b"probe %d" % i)
            sent.append(time.monotonic())
            emitter.send(datagram)
    if push:
        push.stop()
    for name, tail in tails.items():
        sawlog.wait_for(f"all probes at {name}", lambda tail=tail: len(tail.at) >= len(sent), 60)
        ms = sorted((tail.at[i] - s) * 1e3 for i, s in enumerate(sent))
        beside = f"{rate:,.0f} lines/s beside" if rate else "idle"
        told = ", ".join(f"{q} {ms[min(int(p * len(ms)), len(ms) - 1)]:.1f}"
                         for p, q in ((0.5, "p50"), (0.99, "p99"), (1, "max")))
        print(f"datagram to tail at {name}, {beside}: {told} ms")
        tail.close()


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory(prefix="sawlog-bench-") as folder:
        two = zones.Zones(folder, one=False).start()
        try:
            latency(two, seconds, 0)
            rate = full_speed(two, seconds)
            latency(two, seconds, rate / 2)
        finally:
            two.close()


if __name__ == "__main__":
    main()
