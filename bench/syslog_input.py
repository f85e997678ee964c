# SPDX-License-Identifier: Apache-2.0
"""The syslog input: CPU from the socket to the commit, and what an idle connection costs in memory."""
import socket
import ssl
import subprocess
import threading
import time

import sawlog

MB = 1e6
HEAD = "<13>1 2026-08-21T12:00:00.123456Z host %s 4711 - - "
IDLE = 1000  # connections of each kind


def certificate(folder):
    """One that signs itself: (certificate, key)."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
                   check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


def connect(port, tls):
    raw = socket.create_connection(("127.0.0.1", port))
    if not tls:
        return raw
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(raw)


class Listening:
    """A server with a port of each kind."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        cert, key = certificate(folder)
        self.at = {kind: sawlog.free_port() for kind in ("udp", "tcp", "tls")}
        listen = ", ".join(f"'{kind}://127.0.0.1:{port}'" for kind, port in self.at.items())
        config = (f"memory: 128MiB\ninputs:\n  - syslog: {{listen: [{listen}], receive_buffer: 64MiB, "
                  f"tls: {{cert: {cert}, key: {key}}}}}\n")
        self.server = sawlog.Server(folder, config=config).start()

    def committed(self):
        return self.server.metric("sawlog_committed_records_total")


def frames(files, most, counted=False, frame=True):
    """The lines of the files as messages, up to `most` bytes of text: (messages, bytes of the texts)."""
    out, size = [], 0
    for f in files:
        head = (HEAD % f.stem).encode()
        for line in f.read_bytes()[:most // len(files)].split(b"\n")[:-1]:
            message = head + line
            out.append(b"%d %s" % (len(message), message) if counted else message + b"\n" if frame else message)
            size += len(line)
    return out, size


def send_stream(port, tls, messages):
    with connect(port, tls) as s:
        piece = b""
        for m in messages:
            piece += m
            if len(piece) > 60_000:
                s.sendall(piece)
                piece = b""
        s.sendall(piece)
        if tls:
            s.unwrap()


def send_datagrams(port, messages, rate):
    """`rate` a second, in bursts of 1 ms: more than that, and the machine's speed is what is measured."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", port))
        start = time.monotonic()
        for i, m in enumerate(messages):
            if i % 100 == 0 and (ahead := i / rate - (time.monotonic() - start)) > 0:
                time.sleep(ahead)
            s.send(m[:60_000])


def throughput(folder, files, cpu, most=100 << 20, rate=60_000):
    """Yields (name, MB per CPU second of the server until all is committed, share that arrived)."""
    for name, kind, counted in (("TCP, lines", "tcp", False), ("TCP, octet counts", "tcp", True),
                                ("TLS, octet counts", "tls", True), ("UDP", "udp", False)):
        listening = Listening(folder / name.replace(", ", "-").replace(" ", "-"))
        pid = listening.server.child.pid
        messages, size = frames(files, most, counted, kind != "udp")
        before, used = listening.committed(), cpu(pid)
        if kind == "udp":
            sender = threading.Thread(target=send_datagrams, args=(listening.at[kind], messages, rate))
        else:
            sender = threading.Thread(target=send_stream, args=(listening.at[kind], kind == "tls", messages))
        sender.start()
        sender.join()
        got, since = 0, time.monotonic()
        while got < len(messages) and time.monotonic() - since < 3:
            now = listening.committed() - before
            if now != got:
                got, since = now, time.monotonic()
            time.sleep(0.05)
        share = min(got / len(messages), 1)
        yield name, size * share / MB / (cpu(pid) - used), share
        listening.server.close()


def idle(folder, memory):
    """Yields (kind, KiB of RssAnon for each of IDLE connections that have sent a message each)."""
    for kind in ("tcp", "tls"):
        listening = Listening(folder / f"idle-{kind}")
        pid = listening.server.child.pid
        message = (HEAD % "idle" + "x" * 200 + "\n").encode()
        # Once, so that what is made by the first of them is there.
        send_stream(listening.at[kind], kind == "tls", [message] * 1000)
        sawlog.wait_for("the first", lambda: listening.committed() >= 1000, 30)
        time.sleep(1)
        before, open_ones = memory(pid), []
        for _ in range(IDLE):
            open_ones.append(connect(listening.at[kind], kind == "tls"))
            open_ones[-1].sendall(message)
        sawlog.wait_for("the others", lambda: listening.committed() >= 1000 + IDLE, 60)
        time.sleep(2)
        yield kind, (memory(pid) - before) * 1024 / IDLE
        for s in open_ones:
            s.close()
        listening.server.close()
