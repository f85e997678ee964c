#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a corpus of log files from line shapes of its own, the same for the same seed.

Eight systems, one file each of equal size: their shapes differ in time format,
in how much of a line is constant, and in what varies (addresses, ids, numbers,
words), with the skew of real logs: few values are common, many are rare.  Each
file holds one needle line with trace=q7Zt0mPx3LwK9vRb.
"""
import argparse
import datetime
import random
from pathlib import Path

NEEDLE = "trace=q7Zt0mPx3LwK9vRb"


class Source:
    """Skewed draws and an advancing clock."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.now = 1_790_000_000.0
        self.ips = [f"10.{self.r.randrange(4)}.{self.r.randrange(256)}.{self.r.randrange(1, 255)}"
                    for _ in range(400)]
        self.users = [f"{w}{self.r.randrange(100)}" for w in
                      ("ada", "grace", "alan", "edsger", "barbara", "ken", "dennis", "lynn") for _ in range(12)]
        self.paths = ["/" + "/".join(self.r.choice(("api", "v1", "v2", "users", "orders", "static", "img",
                      "cart", "search", "login", "items")) for _ in range(self.r.randrange(1, 5)))
                      for _ in range(150)]
        self.recent = []

    def skew(self, values):
        return values[min(int(self.r.paretovariate(0.9)) - 1, len(values) - 1)]

    def tick(self, mean):
        self.now += self.r.expovariate(1 / mean)
        return self.now

    def id(self, digits):
        """An id that often recurs while it is recent, as request ids do."""
        if self.recent and self.r.random() < 0.6:
            return self.r.choice(self.recent)[:digits]
        fresh = f"{self.r.getrandbits(128):032x}"
        self.recent = (self.recent + [fresh])[-40:]
        return fresh[:digits]

    def stamp(self, form, mean):
        t = self.tick(mean)
        d = datetime.datetime.fromtimestamp(t, datetime.timezone.utc)
        form = form.replace("%f3", f"{int(t % 1 * 1000):03d}").replace("%f6", f"{int(t % 1 * 1e6):06d}")
        return d.strftime(form)


def web(s):
    code = s.skew([200, 304, 404, 302, 500, 403])
    return (f'{s.skew(s.ips)} - - [{s.stamp("%d/%b/%Y:%H:%M:%S +0000", .01)}] "{s.skew(["GET", "POST", "PUT"])} '
            f'{s.skew(s.paths)}?id={s.r.randrange(100000)} HTTP/1.1" {code} {int(s.r.lognormvariate(8, 1.5))} "-" '
            f'"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/{s.r.randrange(90, 130)}.0"')


def auth(s):
    head = f'{s.stamp("%b %d %H:%M:%S", .2)} gate{s.r.randrange(4)} sshd[{s.r.randrange(900, 32000)}]: '
    return head + s.skew([
        f"Failed password for invalid user {s.skew(s.users)} from {s.skew(s.ips)} port {s.r.randrange(1024, 65535)} ssh2",
        f"Accepted publickey for {s.skew(s.users)} from {s.skew(s.ips)} port {s.r.randrange(1024, 65535)} ssh2: "
        f"RSA SHA256:{s.id(32)}",
        f"Connection closed by {s.skew(s.ips)} [preauth]",
        "pam_unix(sshd:auth): check pass; user unknown"])


def java(s):
    head = f'{s.stamp("%Y-%m-%d %H:%M:%S,%f3", .02)} {s.skew(["INFO ", "DEBUG", "WARN ", "ERROR"])} '
    return head + s.skew([
        f"[http-nio-8080-exec-{s.r.randrange(1, 21)}] c.e.shop.OrderService - order {s.r.randrange(10**6)} of "
        f"customer {s.skew(s.users)} placed in {s.r.randrange(2, 900)} ms",
        f"[pool-2-thread-{s.r.randrange(1, 9)}] c.e.shop.Inventory - reserved {s.r.randrange(1, 20)} of item "
        f"{s.r.randrange(5000)} at warehouse w{s.r.randrange(12)}",
        f"[scheduler-1] o.h.e.j.s.SqlExceptionHelper - SQL Error: {s.r.randrange(1000, 1100)}, SQLState: 40001",
        f"[main] c.e.shop.Cache - evicted {s.r.randrange(1000)} entries, {s.r.randrange(100)} % hit"])


def kv(s):
    return (f'time={s.stamp("%Y-%m-%dT%H:%M:%S.%f6Z", .01)} level={s.skew(["info", "debug", "warn", "error"])} '
            f'msg="{s.skew(["request done", "cache miss", "upstream slow", "retry", "connection reset"])}" '
            f'trace_id={s.id(32)} span={s.id(16)} duration={s.r.lognormvariate(2, 1):.3f}ms '
            f'bytes={int(s.r.lognormvariate(7, 2))} peer={s.skew(s.ips)}:{s.r.randrange(1024, 65535)}')


def jsonl(s):
    return (f'{{"ts":"{s.stamp("%Y-%m-%dT%H:%M:%S.%f3Z", .01)}","level":"{s.skew(["info", "warn", "error"])}",'
            f'"service":"{s.skew(["checkout", "cart", "search", "mail", "billing"])}","request_id":"{s.id(8)}-{s.id(4)}",'
            f'"user":"{s.skew(s.users)}","status":{s.skew([200, 201, 404, 500])},"ms":{s.r.randrange(1, 3000)},'
            f'"message":"{s.skew(["handled", "queued", "rejected by policy", "timed out waiting for lock"])}"}}')


def kernel(s):
    up = s.tick(.5) - 1_790_000_000
    return f"[{up:12.6f}] " + s.skew([
        f"TCP: request_sock_TCP: Possible SYN flooding on port {s.skew([80, 443, 8080])}. Sending cookies.",
        f"usb {s.r.randrange(1, 5)}-{s.r.randrange(1, 9)}: new high-speed USB device number {s.r.randrange(2, 120)}",
        f"EXT4-fs (sda{s.r.randrange(1, 4)}): re-mounted. Opts: errors=remount-ro",
        f"audit: type=1400 audit({s.now:.3f}:{s.r.randrange(10**5)}): apparmor=\"DENIED\" pid={s.r.randrange(32768)}"])


def blocks(s):
    stamp = s.stamp("%y%m%d %H%M%S", .02)
    blk = f"blk_{'-' if s.r.random() < .5 else ''}{int(s.id(16), 16) % 10**19}"
    return f"{stamp} {s.r.randrange(1, 3000)} INFO " + s.skew([
        f"node.Receiver: Receiving block {blk} src: /{s.skew(s.ips)}:{s.r.randrange(30000, 60000)} dest: /{s.skew(s.ips)}:50010",
        f"node.Names: addStoredBlock: map updated: {s.skew(s.ips)}:50010 added to {blk} size {s.skew([67108864, 3542967])}",
        f"node.Responder: PacketResponder {s.r.randrange(3)} for block {blk} terminating"])


def database(s):
    return (f'{s.stamp("%Y-%m-%d %H:%M:%S.%f3 UTC", .05)} [{s.r.randrange(400, 9000)}] '
            f'{s.skew(s.users)}@shop ' + s.skew([
                f"LOG:  duration: {s.r.lognormvariate(1, 1.5):.3f} ms  statement: SELECT * FROM orders WHERE id = "
                f"{s.r.randrange(10**6)}",
                f"LOG:  checkpoint complete: wrote {s.r.randrange(9000)} buffers ({s.r.random() * 20:.1f}%)",
                f"ERROR:  deadlock detected at character {s.r.randrange(200)}",
                f"LOG:  connection authorized: user={s.skew(s.users)} database=shop SSL enabled"]))


SHAPES = {f.__name__: f for f in (web, auth, java, kv, jsonl, kernel, blocks, database)}


def write(path, shape, size, seed):
    s, n = Source(seed), 0
    needle_at = size // 2
    with path.open("w") as f:
        while n < size:
            line = shape(s)
            if needle_at is not None and n >= needle_at:
                line, needle_at = f"{line} {NEEDLE}", None
            f.write(line + "\n")
            n += len(line) + 1


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--mb", type=int, default=512, help="MiB in all")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    for i, (name, shape) in enumerate(SHAPES.items()):
        write(a.out / f"{name}.log", shape, (a.mb << 20) // len(SHAPES), a.seed * 100 + i)


if __name__ == "__main__":
    main()
