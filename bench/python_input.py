# SPDX-License-Identifier: Apache-2.0
"""The python input: CPU for each record from the socket to the commit, and the same stream into a receiver in Python
as the logging cookbook has it, whose handler writes the file."""
import logging
import logging.handlers
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import sawlog

RECEIVER = r'''
import logging, logging.handlers, pickle, socket, socketserver, struct, sys

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        # MSG_WAITALL is ours: the cookbook's takes a length that is split over two segments for the end.
        while len(chunk := self.connection.recv(4, socket.MSG_WAITALL)) == 4:
            n = struct.unpack(">L", chunk)[0]
            chunk = self.connection.recv(n)
            while len(chunk) < n:
                chunk += self.connection.recv(n - len(chunk))
            record = logging.makeLogRecord(pickle.loads(chunk))
            logging.getLogger(record.name).handle(record)

class Receiver(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

logging.basicConfig(filename=sys.argv[2], level=1, format="%(asctime)s %(name)-15s %(levelname)-8s %(message)s")
Receiver(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
'''


def frames(n):
    """What a real SocketHandler sends of n records, in a few shapes: (bytes, records)."""
    handler = logging.handlers.SocketHandler("127.0.0.1", 1)
    made, loggers = [], [logging.getLogger(f"bench.{i}") for i in range(10)]
    for i in range(5000):
        logger = loggers[i % len(loggers)]
        extra = {"user": f"u{i % 97}", "ms": i * 7 % 1000} if i % 4 == 0 else None
        record = logger.makeRecord(logger.name, (logging.INFO, logging.DEBUG, logging.WARNING)[i % 3], __file__, 40 + i % 9,
                                   "request %s took %d ms on %s", (f"/api/item/{i}", i % 700, f"host-{i % 12}"), None,
                                   "serve", extra)
        made.append(handler.makePickle(record))
    block = b"".join(made)
    rounds = max(1, n // len(made))
    return block, rounds, rounds * len(made)


def send(port, block, rounds):
    with socket.create_connection(("127.0.0.1", port)) as s:
        for _ in range(rounds):
            s.sendall(block)


def pump(port, block, rounds, done, cpu, pid):
    """CPU seconds of `pid` for the stream, until done() says that all is there."""
    used = cpu(pid)
    sender = threading.Thread(target=send, args=(port, block, rounds), daemon=True)
    sender.start()
    sawlog.wait_for("the records", done, 180)
    sender.join(10)
    return cpu(pid) - used


def ours(folder, n, cpu):
    """(records per CPU second, records that are stored)."""
    folder.mkdir(parents=True, exist_ok=True)
    port = sawlog.free_port()
    server = sawlog.Server(folder, config=f"memory: 128MiB\ninputs:\n  - python: {{listen: ['tcp://127.0.0.1:{port}']}}\n").start()
    block, rounds, total = frames(n)
    try:
        used = pump(port, block, rounds, lambda: server.metric("sawlog_committed_records_total") >= total, cpu, server.child.pid)
        return total / used, int(server.metric("sawlog_committed_records_total"))
    finally:
        server.close()


def theirs(folder, n, cpu):
    """The same for CPython's receiver; what it has written counts."""
    folder.mkdir(parents=True, exist_ok=True)
    port, out = sawlog.free_port(), folder / "cookbook.log"
    out.unlink(missing_ok=True)
    child = subprocess.Popen([sys.executable, "-c", RECEIVER, str(port), str(out)])
    block, rounds, total = frames(n)
    seen, lines, last = 0, 0, 0.0

    def done():
        nonlocal seen, lines, last
        if time.monotonic() - last < 0.2 or not out.exists():
            return False
        last = time.monotonic()
        with open(out, "rb") as f:
            f.seek(seen)
            more = f.read()
        seen, lines = seen + len(more), lines + more.count(b"\n")
        return lines >= total

    def listens():
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False

    try:
        sawlog.wait_for("the receiver", listens, 10)
        used = pump(port, block, rounds, done, cpu, child.pid)
        return total / used, total
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
