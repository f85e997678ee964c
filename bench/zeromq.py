#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The zeromq input under ten publishers: messages per CPU second of the server, memory, and that each message is there.

    SAWLOG=build/release/sawlog bench/zeromq.py [MESSAGES_EACH]
"""
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PUBLISHERS = 10
EACH = 100_000

# pyzmq's own PUBHandler; with XPUB_NODROP it waits where PUB would drop.
PUBLISHER = """
import logging, sys, zmq
from zmq.log.handlers import PUBHandler
address, root, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
socket = zmq.Context().socket(zmq.XPUB)
socket.sndhwm, socket.linger = 10_000, 60_000
socket.setsockopt(zmq.XPUB_NODROP, 1)
socket.bind(address)
handler = PUBHandler(socket, root_topic=root)
handler.setFormatter(logging.Formatter("%(message)s\\n"))
log = logging.Logger(root, 1)
log.addHandler(handler)
assert socket.poll(60_000)
socket.recv()
for i in range(n):
    log.info("#%d GET /api/v1/items/%d?page=%d took %d us for user%d", i + 1, i * 7919 % 100003, i % 17, i * 31 % 9973,
             i % 500)
sys.stdin.read()
"""


def spawn(address, root, n):
    return subprocess.Popen([sys.executable, "-c", PUBLISHER, address, root, str(n)], stdin=subprocess.PIPE)


def rss(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def run(folder, sawlog, cpu, each=EACH, memory="128MiB"):
    """(messages per CPU second, per second, highest RssAnon, whether all are there in order)."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    at = {f"publisher{i}": f"tcp://127.0.0.1:{sawlog.free_port()}" for i in range(PUBLISHERS)}
    connect = ", ".join(f"{name}: '{a}'" for name, a in at.items())
    config = f"memory: {memory}\ninputs:\n  - zeromq: {{connect: {{{connect}}}, sequence: '^#(\\d+) '}}\n"
    server = sawlog.Server(folder, config=config).start()
    pid, total, peak = server.child.pid, PUBLISHERS * each, [0]
    used, began, end = cpu(pid), time.monotonic(), threading.Event()

    def watch():
        while not end.wait(0.05):
            peak[0] = max(peak[0], rss(pid))

    threading.Thread(target=watch, daemon=True).start()
    children = [spawn(a, name, each) for name, a in at.items()]
    try:
        sawlog.wait_for("all messages", lambda: server.metric(
            "sawlog_committed_records_total", input="zeromq") >= total, 600)
        seconds, used = time.monotonic() - began, cpu(pid) - used
        end.set()
        whole = server.metric("sawlog_dropped_records_total", input="zeromq") == 0
        for name in at:
            numbers = (int(line[1:line.index(" ")]) for line in server.lines(f'{{app="{name}"}}'))
            whole = whole and all(a == b for a, b in zip(numbers, range(1, each + 1), strict=True))
    finally:
        end.set()
        for c in children:
            c.communicate(b"")
        server.close()
    return total / used, total / seconds, peak[0], whole


def main():
    root = Path(__file__).resolve().parents[1]
    sys.path.insert(0, str(root / "tests/scenario"))
    import os

    import sawlog

    def cpu(pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    with tempfile.TemporaryDirectory(prefix="sawlog-zeromq-") as folder:
        rate, wall, peak, whole = run(folder, sawlog, cpu, int(sys.argv[1]) if len(sys.argv) > 1 else EACH)
    print(f"zeromq: {rate:,.0f} messages per CPU second, {wall:,.0f} per second, RssAnon up to {peak / (1 << 20):.1f} MiB, "
          f"{'all there in order' if whole else 'NOT all there in order'}")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
