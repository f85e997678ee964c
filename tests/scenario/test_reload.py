# SPDX-License-Identifier: Apache-2.0
"""Reloads: all or nothing, none forgotten, and a thousand of them lose no line."""
import os
import signal
import socket
import threading
import time

import sawlog


def reload(server):
    # A command that has got its SIGTERM may wait long for a processor on which to end.
    return server.call("POST", "/-/reload", b"", timeout=120)


def replace(path, text):
    """At once: a reload that is under way must not read half of a config, or an empty one, which has no inputs."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def test_all_or_nothing(nodes, tmp_path):
    """One new input cannot start: the others run on with their old settings."""
    (tmp_path / "a.log").write_text("")
    good = f"inputs:\n  - file: {{paths: [{tmp_path}/a.log], labels: {{version: old}}}}\n"
    bad = (f"inputs:\n  - file: {{paths: [{tmp_path}/a.log], labels: {{version: new}}}}\n"
           "  - exec: {command: [/nowhere/program, x]}\n")
    server = nodes.server(config=good)
    server.config.write_text(bad)
    answer = reload(server)
    assert answer.status == 400 and "/nowhere/program" in answer.text, answer.text
    with open(tmp_path / "a.log", "a") as f:
        f.write("after\n")
    sawlog.wait_for("the line", lambda: server.lines('{version="old"}') == ["after"])
    assert not server.lines('{version="new"}')
    server.config.write_text("inputs: [{file: {pathz: x}}]\n")
    answer = reload(server)
    assert answer.status == 400 and "pathz" in answer.text
    server.config.write_text(bad.split("  - exec")[0])
    assert reload(server).status == 200
    with open(tmp_path / "a.log", "a") as f:
        f.write("then\n")
    sawlog.wait_for("the new line", lambda: server.lines('{version="new"}') == ["then"])


def test_asked_while_one_runs(nodes, tmp_path):
    """The last words of the config count, however signals and requests fall."""
    log = tmp_path / "a.log"
    log.write_text("")
    server = nodes.server(config="inputs: []\n")
    # An input that takes its time to stop makes each reload long.
    slow = "  - exec: {command: \"trap 'sleep 0.3; exit' TERM; while :; do sleep 0.02; done\", labels: {v: \"%d\"}}\n"
    for i in range(8):
        replace(server.config, "inputs:\n" + slow % i +
                f"  - file: {{paths: [{log}], labels: {{v: \"{i}\"}}}}\n")
        if i % 2:
            server.child.send_signal(signal.SIGHUP)
        else:
            threading.Thread(target=reload, args=(server,), daemon=True).start()
        time.sleep(0.05)
    answer = reload(server)
    assert answer.status == 200, answer.text
    with open(log, "a") as f:
        f.write("end\n")
    sawlog.wait_for("the last version", lambda: server.lines('{v="7"}') == ["end"])


def test_forward_reloads(nodes, tmp_path):
    a, b = nodes.server(name="a", start=False), nodes.server(name="b", start=False)
    a.data, b.data = tmp_path / "data-a", tmp_path / "data-b"
    b.start()
    log = tmp_path / "x.log"
    log.write_text("one\n")
    config = tmp_path / "forward.yaml"
    text = "url: {url}\ndata: {data}\npaths: [{log}]\nlabels: {{v: {v}}}\n"
    config.write_text(text.format(url=a.url, data=tmp_path / "positions", log=log, v="one"))
    f = sawlog.Process("forward", tmp_path)
    f.spawn([sawlog.SAWLOG, "forward", "-c", str(config)])
    try:
        sawlog.wait_for("it waits", lambda: "not connected" in f.err)
        # What waits for a server that is not there goes to the new one.
        config.write_text(text.format(url=b.url, data=tmp_path / "positions", log=log, v="two"))
        f.child.send_signal(signal.SIGHUP)
        sawlog.wait_for("a line at b", lambda: b.lines('{app="x"}') == ["one"])
        sawlog.wait_for("the reload", lambda: "reloaded" in f.err)
        with open(log, "a") as out:
            out.write("two\n")
        sawlog.wait_for("with its label", lambda: b.lines('{v="two"}') == ["two"])
        config.write_text("url: nonsense\npaths: [/x]\n")
        f.child.send_signal(signal.SIGHUP)
        sawlog.wait_for("the refusal", lambda: "the old configuration stays" in f.err)
        with open(log, "a") as out:
            out.write("three\n")
        sawlog.wait_for("it goes on", lambda: b.lines('{v="two"}') == ["two", "three"])
        assert f.kill(signal.SIGTERM) == 0
    finally:
        f.close()


RELOADS = int(os.environ.get("RELOADS", "1000"))


class Load:
    """Writers of numbered lines, each until told to stop."""

    def __init__(self, server, folder):
        self.server, self.folder, self.ending = server, folder, threading.Event()
        self.written, self.threads, self.problems, self.reloads = {}, [], [], 0

    def start(self, name, run):
        self.written[name] = 0
        self.threads.append(threading.Thread(target=self.guard, args=(name, run), daemon=True))
        self.threads[-1].start()

    def guard(self, name, run):
        try:
            run(name)
        except Exception as e:
            self.problems.append(f"{name}: {e!r}")

    def pace(self, n):
        """Where reloads are slow, they are not drowned in what is written meanwhile."""
        while n > 5000 + 200 * self.reloads and not self.ending.is_set():
            time.sleep(0.01)

    def rotating_file(self, name):
        path, n, kept = self.folder / f"{name}.log", 0, 0
        while not self.ending.is_set():
            with open(path, "a") as f:
                for _ in range(10):
                    f.write("".join(f"{name} {i} {'x' * 80}\n" for i in range(n, n + 100)))
                    f.flush()
                    n += 100
                    time.sleep(0.004)
            if n % 4000 == 0:
                kept += 1
                os.rename(path, self.folder / f"{name}.log.{kept}")
            self.written[name] = n
            self.pace(n)

    def pushes(self, name):
        n = 0
        while not self.ending.is_set():
            answer = self.server.push({"app": name}, [f"{name} {i} {'x' * 80}" for i in range(n, n + 50)])
            assert answer.status == 204, answer.text
            n += 50
            self.written[name] = n
            time.sleep(0.02)
            self.pace(n)

    def syslog_tcp(self, name, port):
        """One connection that lives through all reloads."""
        n = 0
        with socket.create_connection(("127.0.0.1", port)) as s:
            while not self.ending.is_set():
                s.sendall(b"".join(b"<13>Aug 21 10:00:00 h %s: %s %d %s\n" % (
                    name.encode(), name.encode(), i, b"x" * 80) for i in range(n, n + 50)))
                n += 50
                self.written[name] = n
                time.sleep(0.01)
                self.pace(n)

    def syslog_udp(self, name, port):
        n = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            while not self.ending.is_set():
                for i in range(n, n + 5):
                    s.sendto(b"<13>Aug 21 10:00:00 h %s: %s %d" % (name.encode(), name.encode(), i),
                             ("127.0.0.1", port))
                n += 5
                self.written[name] = n
                time.sleep(0.01)
                self.pace(n)

    def end(self):
        self.ending.set()
        for t in self.threads:
            t.join()
        assert not self.problems, self.problems

    def dropped(self):
        """Datagrams for which the kernel had no room while the machine was busy: counted, and told by records."""
        return int(self.server.metric("sawlog_dropped_records_total", input="syslog", reason="kernel_drop"))

    def expected(self):
        """Records in all."""
        dropped = self.dropped()
        told = len(self.server.lines('{app="syslog-drops"}')) if dropped else 0
        return sum(self.written.values()) - dropped + told

    def differences(self):
        """What is missing of each source, and what is there twice; nothing when all is well."""
        found = []
        for name, n in self.written.items():
            got = [int(line.split()[1]) for line in self.server.lines(f'{{app="{name}"}}')]
            missing = sorted(set(range(n)) - set(got))
            if name == "udp" and len(missing) == self.dropped():
                missing = []
            if missing or len(got) != len(set(got)) or not set(got) <= set(range(n)):
                runs = [x for x in missing if x - 1 not in set(missing)]
                found.append(f"{name}: {n} written, {len(got)} stored, {len(got) - len(set(got))} of them again, "
                             f"{len(missing)} missing, in {len(runs)} runs from {runs[:10]}")
        return found


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_a_thousand_under_load(nodes, tmp_path):
    """Labels change, inputs come, go and change places; nothing is lost, nothing is there twice."""
    def entry(name, labels):
        return f"  - file: {{paths: [\"{tmp_path}/{name}.log\"], labels: {{{labels}}}}}\n"

    idle = "  - exec: {command: [sleep, \"1000\"], app: idle}\n"
    port = sawlog.free_port()

    def syslog(labels):
        return (f"  - syslog: {{listen: ['tcp://127.0.0.1:{port}', 'udp://127.0.0.1:{port}'], "
                f"labels: {{{labels}}}}}\n")

    configs = [
        "inputs:\n" + syslog("v: a") + entry("one", "v: a") + entry("two", "v: a") + entry("three", "v: a"),
        "inputs:\n" + entry("three", "v: a") + entry("one", "v: b") + entry("two", "v: a") + idle + syslog("v: a"),
        "inputs:\n" + syslog("v: b") + entry("two", "v: c") + entry("three", "v: a"),
        "inputs:\n" + entry("one", "v: a") + idle + syslog("v: c") + entry("three", "v: c") +
        entry("two", "v: c"),
    ]
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.log").write_text("")
    server = nodes.server(config=configs[0])
    sawlog.wait_for("the syslog port", lambda: listens(port))
    load = Load(server, tmp_path)
    for name in ("one", "two", "three"):
        load.start(name, load.rotating_file)
    load.start("push", load.pushes)
    load.start("tcp", lambda name: load.syslog_tcp(name, port))
    load.start("udp", lambda name: load.syslog_udp(name, port))
    began, took = time.monotonic(), []
    for i in range(1, RELOADS + 1):
        load.reloads = i
        replace(server.config, configs[i % len(configs)])
        at = time.monotonic()
        if i % 10 == 0:
            server.child.send_signal(signal.SIGHUP)
        else:
            answer = reload(server)
            assert answer.status == 200, answer.text
            took.append(time.monotonic() - at)
    seconds = time.monotonic() - began
    replace(server.config, configs[0])
    assert reload(server).status == 200
    load.end()
    total = sum(load.written.values())
    took.sort()
    print(f"{RELOADS} reloads in {seconds:.1f} s, median {took[len(took) // 2] * 1000:.1f} ms, longest "
          f"{took[-1] * 1000:.0f} ms, {total} lines")
    stored, since = 0, time.monotonic()
    while stored < load.expected() and time.monotonic() - since < 60:
        time.sleep(0.02)
        now = server.metric("sawlog_sequence")
        if now > stored:
            stored, since = now, time.monotonic()
    time.sleep(0.5)
    differences = load.differences()
    assert not differences, f"{differences}, {load.dropped()} dropped by the kernel\n{server.err[-3000:]}"
    assert server.metric("sawlog_sequence") == load.expected()
    assert took[len(took) // 2] < 1
