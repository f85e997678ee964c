# SPDX-License-Identifier: Apache-2.0
"""Unix sockets that containers offer their stdout and stderr on, as Warden does: whole lines however they come, again
and again for ever, and never an application that waits."""
import re
import socket
import threading
import time

import pytest

import sawlog
from sawlog import wait_for

CONFIG = """\
inputs:
  - sockets:
      paths: [{folder}/*/jobs/*/stdout.sock, {folder}/*/jobs/*/stderr.sock]
      path_labels: '/(?P<app>[a-z]+)-(?P<index>\\d+)/jobs/'
      {more}
"""


class Job:
    """A container's job: stdout and stderr, each a socket to which any number connect."""

    def __init__(self, folder, name="web-0", job=1):
        self.folder = folder / name / "jobs" / str(job)
        self.folder.mkdir(parents=True)
        self.servers, self.clients, self.lock = {}, {"stdout": [], "stderr": []}, threading.Lock()
        for stream in self.clients:
            self.listen(stream)

    def listen(self, stream):
        s = socket.socket(socket.AF_UNIX)
        path = self.folder / f"{stream}.sock"
        path.unlink(missing_ok=True)
        s.bind(str(path))
        s.listen()
        self.servers[stream] = s
        threading.Thread(target=self._accept, args=(s, stream), daemon=True).start()

    def _accept(self, server, stream):
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            client.settimeout(sawlog.PATIENCE)
            with self.lock:
                self.clients[stream].append(client)

    def wait(self, stream="stdout"):
        wait_for(f"somebody reads {stream}", lambda: self.clients[stream])
        return self

    def write(self, data, stream="stdout"):
        """As an application writes: it waits when nobody reads."""
        for client in self.clients[stream]:
            client.sendall(data)

    def end(self, stream="stdout"):
        """The job ends: its readers see the end, and nobody listens any more."""
        # Else accept goes on until somebody connects.
        self.servers[stream].shutdown(socket.SHUT_RDWR)
        self.servers[stream].close()
        for client in self.clients[stream]:
            client.close()
        self.clients[stream] = []


@pytest.fixture
def depot(nodes):
    # A socket's path has room for 108 bytes.
    with sawlog.folder() as folder:
        yield folder


def serve(nodes, depot, more="", memory=None, **kw):
    whole = f"memory: {memory}\n" if memory else ""
    return nodes.server(config=whole + CONFIG.format(folder=depot, more=more), **kw)


def test_labels(nodes, depot):
    job = Job(depot)
    server = serve(nodes, depot)
    job.wait().wait("stderr")
    job.write(b"out\n")
    job.write(b"err\n", "stderr")
    wait_for("both are there", lambda: len(server.lines('{app="web"}')) == 2)
    by_line = {line: labels for _, line, labels in server.entries('{app="web", index="0", source="APP/0"}')}
    assert by_line["out"]["message_type"] == "OUT" and by_line["err"]["message_type"] == "ERR"
    assert by_line["out"]["input"] == "sockets" and by_line["out"]["file"].endswith("stdout.sock")


def test_whole_lines(nodes, depot):
    """A line of 10,000 bytes, and lines that come byte by byte, or many at once: each is one record."""
    job = Job(depot)
    server = serve(nodes, depot)
    job.wait()
    long = b"x" * 10_000
    job.write(long[:4096])
    time.sleep(0.1)
    job.write(long[4096:] + b"\n")
    for byte in b"byte by byte\r\n":
        job.write(bytes([byte]))
    job.write(b"".join(b"%d\n" % i for i in range(3000)) + b"\nno newline")
    job.end()
    expected = [long.decode(), "byte by byte", *map(str, range(3000)), "", "no newline"]
    wait_for("all are there", lambda: len(server.lines('{app="web"}')) == len(expected))
    assert server.lines('{app="web"}') == expected


def test_too_long(nodes, depot):
    job = Job(depot)
    server = serve(nodes, depot, "max_line: 1KiB")
    job.wait()
    job.write(b"y" * 100_000 + b"\nnext\n")
    wait_for("both are there", lambda: len(server.lines('{app="web"}')) == 2)
    (_, line, labels), (_, following, _) = server.entries('{app="web"}')
    assert line == "y" * 1024 and labels["truncated_from"] == "100000" and following == "next"


def test_comes_and_goes(nodes, depot):
    """Containers that begin later, that end, that begin again: found, and connected to again for ever."""
    server = serve(nodes, depot)
    job = Job(depot, "late-3").wait()
    job.write(b"first\n")
    wait_for("it is there", lambda: server.lines('{app="late", index="3"}') == ["first"])
    job.end()
    time.sleep(1.5)
    job.listen("stdout")
    job.wait().write(b"second\n")
    wait_for("it is there too", lambda: server.lines('{app="late"}') == ["first", "second"])
    (job.folder / "stdout.sock").unlink()
    job.write(b"third, without its file\n")
    wait_for("that too", lambda: len(server.lines('{app="late"}')) == 3)


def test_example(nodes, depot):
    config = (sawlog.ROOT / "examples/container-sockets.yaml").read_text()
    server = nodes.server(config=config.replace("/var/vcap/data/warden/depot", f"{depot}/depot"))
    Job(depot / "depot", "16uvhd8").wait("stderr").write(b"from the example\n", "stderr")
    wait_for("it is there", lambda: server.lines('{app="16uvhd8", source="APP/1"} | message_type="ERR"'))


def test_many(nodes, depot):
    jobs = [Job(depot, f"app-{i}") for i in range(100)]
    server = serve(nodes, depot)
    for job in jobs:
        job.wait()
        job.write(b"".join(b"line %d\n" % i for i in range(100)))
    wait_for("all are there", lambda: len(server.lines('{app="app"}')) == 10_000)
    assert server.lines('{app="app", index="57"}') == [f"line {i}" for i in range(100)]


def test_halves_of_lines_are_charged(nodes, depot):
    """Many sockets that each begin a long line and do not end it: memory's limit holds, and a line that is cut for it
    says so."""
    jobs = [Job(depot, f"app-{i}") for i in range(120)]
    server = serve(nodes, depot, "max_line: 1MiB", memory="32MiB")
    for job in jobs:
        job.wait()
    before = server.rss_anon()
    for job in jobs:
        job.write(b"x" * 500_000)
    time.sleep(1)
    if not sawlog.SANITIZED:
        assert server.rss_anon() - before < 48 << 20
    for job in jobs:
        job.write(b"\n")

    def all_told():
        kept = server.metric("sawlog_committed_records_total", input="sockets")
        return kept + server.metric("sawlog_dropped_records_total", input="sockets", reason="buffer") >= len(jobs)

    wait_for("each line is there, or told of", all_told)
    assert server.metric("sawlog_cut_records_total", input="sockets") > 0


def test_stop_takes_what_came(nodes, depot):
    job = Job(depot)
    server = serve(nodes, depot)
    job.wait().write(b"".join(b"%d\n" % i for i in range(20_000)) + b"the last")
    assert server.stop() == 0
    server.start()
    assert server.lines('{app="web"}') == [*map(str, range(20_000)), "the last"]


def test_never_slows_an_application(nodes, depot):
    """The server is away: 60 MB are written without a wait, in bounded memory; later what was kept is there in order,
    and what was not is told."""
    server = nodes.server(start=False)
    job = Job(depot)
    config = nodes.folder / "forward.yaml"
    config.write_text(CONFIG.format(folder=depot, more="buffer: 4MiB"))
    forwarder = nodes.forwarder(server, args=["-c", config])
    job.wait()
    line = b"%06d " + b"z" * 493 + b"\n"
    began = time.monotonic()
    for i in range(0, 120_000, 100):
        job.write(b"".join(line % n for n in range(i, i + 100)))
    took = time.monotonic() - began
    assert took < 15, "the application was made to wait"
    if not sawlog.SANITIZED:
        assert forwarder.rss_anon() < 150 << 20
    server.start()
    wait_for("it is told", lambda: server.lines('{app="web"} |= "were dropped between"'), 60)
    job.write(b"after all\n")
    wait_for("it goes on", lambda: server.lines('{app="web"} |= "after all"'))
    lines = server.lines('{app="web"}')
    told = [m for m in (re.match(r"sawlog: (\d+) lines \((\d+) bytes\)", x) for x in lines) if m]
    kept = [int(x[:6]) for x in lines if re.match(r"\d{6} z", x)]
    assert kept == list(range(len(kept))) or sorted(kept) == kept
    assert sum(int(m.group(1)) for m in told) == 120_000 - len(kept)
    assert len(kept) > 4000
