# SPDX-License-Identifier: Apache-2.0
"""A router: CPU from a forwarder's batches, a push's JSON or syslog's bytes to the acknowledgement of its servers."""
import json
import threading
import time

import sawlog
import syslog_input

MB = 1e6
SERVERS = 2
APPS = 20


class Zone:
    """Servers of one zone, and their router."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.servers = [sawlog.Server(folder / f"s{i}", config="memory: 256MiB\n").start() for i in range(SERVERS)]
        self.port = sawlog.free_port()
        zones = json.dumps({"z": [s.url for s in self.servers]})
        self.router = sawlog.Router(folder / "r", config=f"memory: 128MiB\nroute: {{zones: {zones}}}\ninputs:\n"
                                    f"  - syslog: {{listen: ['tcp://127.0.0.1:{self.port}']}}\n").start()

    def committed(self):
        return sum(s.metric("sawlog_committed_records_total") for s in self.servers)

    def close(self):
        for node in (self.router, *self.servers):
            node.close()


def forward(zone, files, folder):
    for f in files:
        sawlog.run("forward", "--once", "--quiet", "--to", zone.router.url, "--data", folder / f.stem, f, timeout=600)


def push(zone, files, most):
    """Bodies of 1 MB, each of all apps."""
    lines = [line.decode("utf-8", "replace") for f in files
             for line in f.read_bytes()[:most // len(files)].split(b"\n")[:-1]]
    at = 0
    while at < len(lines):
        size, streams, now = 0, [[] for _ in range(APPS)], time.time_ns()
        while at < len(lines) and size < 1_000_000:
            streams[at % APPS].append([str(now + at), lines[at]])
            size += len(lines[at])
            at += 1
        body = {"streams": [{"stream": {"app": f"app{i}"}, "values": v} for i, v in enumerate(streams)]}
        status = zone.router.call("POST", "/loki/api/v1/push", json.dumps(body).encode(),
                                  {"Content-Type": "application/json"}).status
        if status != 204:
            time.sleep(0.1)


def measured(zone, cpu, send):
    """(records, CPU seconds of the router, of the servers) until all that came is committed."""
    nodes = [zone.router, *zone.servers]
    before, used = zone.committed(), [cpu(n.child.pid) for n in nodes]
    sender = threading.Thread(target=send)
    sender.start()
    sender.join()
    got, since = zone.committed() - before, time.monotonic()
    while time.monotonic() - since < 1:
        now = zone.committed() - before
        if now != got:
            got, since = now, time.monotonic()
        time.sleep(0.05)
    after = [cpu(n.child.pid) - u for n, u in zip(nodes, used)]
    return got, after[0], sum(after[1:])


def run(folder, files, cpu, most=64 << 20):
    """Yields (name, records and MB per CPU second of the router, CPU seconds of the servers for each of its own)."""
    for f in files:
        cut = folder / f.name
        cut.parent.mkdir(parents=True, exist_ok=True)
        data = f.read_bytes()[:most // len(files)]
        cut.write_bytes(data[:data.rfind(b"\n") + 1])
    files = [folder / f.name for f in files]
    size = sum(f.stat().st_size for f in files)
    for name in ("batches of forwarders", "pushes, JSON", "syslog over TCP"):
        zone = Zone(folder / name.replace(" ", "-").replace(",", ""))
        if name.startswith("batches"):
            got, own, others = measured(zone, cpu, lambda: forward(zone, files, folder / "positions"))
        elif name.startswith("pushes"):
            got, own, others = measured(zone, cpu, lambda: push(zone, files, most))
        else:
            messages, _ = syslog_input.frames(files, most)
            got, own, others = measured(
                zone, cpu, lambda: syslog_input.send_stream(zone.port, False, messages))
        zone.close()
        yield name, got / own, size / MB / own, others / own
