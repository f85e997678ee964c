# SPDX-License-Identifier: Apache-2.0
"""sawlog nowcast in the place of NEMO_Nowcast's aggregator: pyzmq's PUBHandler as the workers have it,
Python's own logging with the same configuration as the oracle (nowcast_original.py)."""
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sawlog
from sawlog import wait_for

zmq = pytest.importorskip("zmq")
pytest.importorskip("yaml")
from zmq.log.handlers import PUBHandler  # noqa: E402

HERE = Path(__file__).parent
OWN = "log_aggregator"

CONFIG = """\
# System configuration
checklist file: $(NOWCAST.ENV.NOWCAST_LOGS)/nowcast_checklist.yaml
python: $(NOWCAST.ENV.NOWCAST_ENV)/bin/python
run:
  enabled hosts:
    west:
      mpi hosts file: ${HOME}/mpi_hosts
logging:
  aggregator:
    version: 1
    disable_existing_loggers: False
    formatters:
      simple:
        format: '%(asctime)s %(levelname)s [%(logger_name)s] %(message)s'
      braces:
        format: '{asctime} {levelname:>8}|{logger_name!r}|{message}'
        style: '{'
        datefmt: '%d %b %Y %H:%M:%S'
    handlers:
      info_text:
        class: logging.handlers.RotatingFileHandler
        level: INFO
        formatter: simple
        filename: $(NOWCAST.ENV.NOWCAST_LOGS)/nowcast.log
        backupCount: 7
      debug_text:
        class: logging.handlers.RotatingFileHandler
        level: DEBUG
        formatter: simple
        filename: $(NOWCAST.ENV.NOWCAST_LOGS)/nowcast.debug.log
        backupCount: 7
      errors:
        class: logging.handlers.WatchedFileHandler
        level: 31
        formatter: braces
        filename: $(NOWCAST.ENV.NOWCAST_LOGS)/sub folder/errors.log
      bare:
        class: logging.FileHandler
        filename: $(NOWCAST.ENV.NOWCAST_LOGS)/bare.log
        encoding: utf-8
      console:
        class: logging.StreamHandler
        level: WARNING
        formatter: simple
        stream: ext://sys.stdout
    root:
      level: DEBUG
      handlers: [info_text, debug_text, errors, bare, console]
  publisher:
    version: 1
    handlers:
      zmq_pub: {class: zmq.log.handlers.PUBHandler, level: DEBUG}
      wgrib2_text: {class: logging.FileHandler, filename: $(NOWCAST.ENV.NOWCAST_LOGS)/wgrib2.log, mode: w}
zmq:
  host: localhost
  ports:
    manager: <manager>
    workers: <broker>
    logging:
      message_broker: <a>
      workers: [<b>, <c>]
      run_NEMO: ['127.0.0.1:<d>']
"""


def free_ports():
    """For each <name> of CONFIG, all different."""
    found = {}
    for name in ("manager", "broker", "a", "b", "c", "d"):
        port = sawlog.free_port()
        while port in found.values():
            port = sawlog.free_port()
        found[name] = port
    return found


class Nowcast(sawlog.Server):
    def __init__(self, folder, config, args=()):
        super().__init__(folder, name="nowcast", args=args)
        self.logs = self.folder / "logs"
        (self.logs / "sub folder").mkdir(parents=True)
        self.config = self.folder / "nowcast.yaml"
        self.config.write_text(config)
        self.env = {"NOWCAST_LOGS": str(self.logs), "NOWCAST_ENV": "/nowcast-env", "TZ": "America/Vancouver"}

    def start(self, wait=True):
        self.spawn([self.binary, "nowcast", "--data", str(self.data), "--http", f"127.0.0.1:{self.port}",
                    *self.args, str(self.config)], self.env)
        if wait:
            wait_for("the server is ready", self.is_ready)
            wait_for("it has subscribed", lambda: f"for all messages from run_NEMO" in self.log())
        return self

    def log(self, name="nowcast.log"):
        path = self.logs / name
        return path.read_text(errors="replace") if path.exists() else ""

    def hangup(self):
        self.child.send_signal(signal.SIGHUP)


class Publisher:
    """A process that publishes: PUBHandler, with the formats NEMO_Nowcast installs.  An XPUB socket tells
    when somebody has subscribed."""

    def __init__(self, root, port):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.linger, self.socket.sndhwm = 5000, 1_000_000
        self.socket.bind(f"tcp://127.0.0.1:{port}")
        self.handler = PUBHandler(self.socket, root_topic=root)
        self.handler.setFormatter(logging.Formatter("%(message)s\n"))
        self.log = logging.Logger(root, 1)
        self.log.addHandler(self.handler)
        assert self.socket.poll(20_000), "nobody subscribes"
        assert self.socket.recv() == b"\x01"

    def close(self):
        self.context.destroy()


@pytest.fixture
def nowcast(tmp_path, request):
    made = []

    def make(start=True, args=(), change=lambda text: text):
        ports, text = free_ports(), change(CONFIG)
        for name, port in ports.items():
            text = text.replace(f"<{name}>", str(port))
        n = Nowcast(tmp_path / "n", text, args)
        n.ports = ports
        made.append(n)
        return n.start() if start else n

    yield make
    for n in made:
        n.close()


@pytest.fixture
def publish():
    made = []

    def make(root, port):
        made.append(Publisher(root, port))
        return made[-1]

    yield make
    for p in made:
        p.close()


def original(n, entries):
    """The files that Python's logging writes for these records, by name."""
    logs = n.folder / "original"
    (logs / "sub folder").mkdir(parents=True)
    lines = "".join(json.dumps([ns, labels["logger"], labels.get("severity", "INFO"), line]) + "\n"
                    for ns, line, labels in entries)
    r = subprocess.run([sys.executable, HERE / "nowcast_original.py", n.config], input=lines.encode(),
                       capture_output=True, timeout=60, env={**os.environ, **n.env, "NOWCAST_LOGS": str(logs)})
    assert r.returncode == 0 and not r.stderr, r.stderr.decode()
    return {f.relative_to(logs): f.read_bytes() for f in logs.rglob("*.log")} | {Path("stdout"): r.stdout}


def all_entries(n):
    return n.entries('{input=~"zeromq|nowcast"}')


TRACEBACK = """stopped: Traceback (most recent call last):
  File "worker.py", line 12, in <module>
    raise ValueError("no forecast")
ValueError: no forecast"""


def test_byte_for_byte(nowcast, publish):
    """The same lines in the same files as Python's own logging writes."""
    n = nowcast()
    broker = publish("message_broker", n.ports["a"])
    worker = publish("make_plots", n.ports["b"])
    nemo = publish("run_NEMO", n.ports["d"])
    # What is sent at the same time by two has no order: one at a time.
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        for p in (broker, worker):
            p.log.log(level, "  spaces at both ends, level %d \t", level)
            wait_for("it is written", lambda: f"[{p.log.name}] spaces at both ends, level {level}\n" in n.log("nowcast.debug.log"))
    nemo.log.error(TRACEBACK)
    nemo.log.info("Fraser River at Hope: 3,400 m³/s; ⅔ of normal; 100%% %s {braces} {{.app}} $HOME")
    nemo.log.info("\ttabs\tand\ttrailing\n\n\n")
    wait_for("it is written", lambda: "tabs" in n.log())
    worker.log.info("a message of two\nlines")
    worker.log.critical("x" * 20000)
    for i in range(200):
        worker.log.debug("step %d", i)
    worker.log.critical("the last one")
    wait_for("the last one", lambda: "the last one" in n.log("nowcast.debug.log"))
    entries = wait_for("all are stored", lambda: (e := all_entries(n))[-1][1] == "the last one" and e)
    assert n.stop() == 0
    assert len(entries) == 6 + 2 * 5 + 3 + 203, [e[1][:40] for e in entries]
    stopping = [time.time_ns(), "termination signal (SIGTERM) received; shutting down", {"logger": OWN}]
    expected = original(n, entries + [stopping])
    assert len(expected) == 5 and all(expected.values())
    for name, content in expected.items():
        ours = (n.logs / name).read_bytes() if name.name != "stdout" else n.out.split("sawlog tail '{}'\n")[1].encode()
        # The time of the last line is not known from the store, which is closed.
        assert re.sub(rb"\d+:\d+:\d+,\d+( INFO .log_agg\w+. term)", rb"\1", ours) == \
            re.sub(rb"\d+:\d+:\d+,\d+( INFO .log_agg\w+. term)", rb"\1", content), name


def test_own_lines(nowcast):
    """What the aggregator says of itself, in its order."""
    n = nowcast()
    times = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO \[log_aggregator\] "
    running = [f"running in process {n.child.pid}", f"read config from {n.config}",
               f"subscribed to localhost port {n.ports['a']} for all messages from message_broker",
               f"subscribed to localhost port {n.ports['b']} for all messages from workers",
               f"subscribed to localhost port {n.ports['c']} for all messages from workers",
               f"subscribed to 127.0.0.1 port {n.ports['d']} for all messages from run_NEMO"]

    def said():
        return [re.sub(f"^{times}", "", line) for line in n.log().splitlines()]

    wait_for("it is running", lambda: said() == running)
    assert all(re.match(times, line) for line in n.log().splitlines())
    n.hangup()
    running += ["hangup signal (SIGHUP) received; reloading configuration"] + running
    wait_for("it has reloaded", lambda: said() == running)
    assert n.kill(signal.SIGINT) == 0
    running.append("interrupt signal (SIGINT or Ctrl-C) received; shutting down")
    assert said() == running
    n.start()
    assert n.kill(signal.SIGTERM) == 0
    assert said()[-1] == "termination signal (SIGTERM) received; shutting down"


def test_moved_away(nowcast, publish):
    """The worker rotate_logs renames the files; what comes then goes to new ones, and nothing is lost."""
    n = nowcast()
    worker = publish("rotate_logs", n.ports["b"])
    for i in range(5):
        worker.log.info("before %d", i)
        wait_for("it is written", lambda: f"before {i}\n" in n.log())
        os.rename(n.logs / "nowcast.log", n.logs / f"nowcast.log.{i}")
        worker.log.info("after %d", i)
        wait_for("a new file", lambda: f"after {i}\n" in n.log())
        assert f"before {i}\n" not in n.log()
    old = "".join(n.log(f"nowcast.log.{i}") for i in range(5)) + n.log()
    found = re.findall(r"\[rotate_logs\] (.*)", old)
    assert found == [f"{word} {i}" for i in range(5) for word in ("before", "after")]


def test_hangups_lose_nothing(nowcast, publish):
    """W-A2: a SIGHUP every 200 ms under load."""
    n = nowcast()
    each = 1500
    publishers = [publish(f"worker{i}", n.ports[p]) for i, p in enumerate("abd")]
    done = threading.Event()

    def load(p):
        for i in range(each):
            p.log.info("message %d", i)
            time.sleep(0.001)

    def hang_up():
        while not done.wait(0.2):
            n.hangup()

    threads = [threading.Thread(target=load, args=(p,), daemon=True) for p in publishers]
    hangups = threading.Thread(target=hang_up, daemon=True)
    for t in [hangups] + threads:
        t.start()
    for t in threads:
        t.join(60)
    done.set()
    hangups.join(5)
    wanted = [str(i) for i in range(each)]
    for i in range(3):
        found = wait_for(f"all of worker{i}", lambda: len(
            f := re.findall(rf"\[worker{i}\] message (\d+)", n.log())) >= each and f)
        assert found == wanted
    assert n.log().count("reloading configuration") >= 2
    assert n.stop() == 0


def test_killed(nowcast, publish):
    """W-A2: after kill -9 the files have what is stored, each message once."""
    n = nowcast()
    worker = publish("worker", n.ports["b"])
    done = threading.Event()

    def load():
        i = 0
        while not done.wait(0.002):
            worker.log.info("message %d", i)
            i += 1

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    for _ in range(2):
        before = n.log().count("[worker]")
        wait_for("messages", lambda: n.log().count("[worker]") > before + 50)
        n.kill()
        n.start(wait=False)
        wait_for("the server is ready", n.is_ready)
    before = n.log().count("[worker]")
    wait_for("messages again", lambda: n.log().count("[worker]") > before + 50)
    done.set()
    thread.join(5)
    worker.log.info("message -1")
    wait_for("the last one", lambda: "message -1\n" in n.log())
    stored = [line.removeprefix("message ") for line in n.lines('{logger="worker"}')]
    written = re.findall(r"\[worker\] message (-?\d+)", n.log())
    assert written == stored and len(set(written)) == len(written)
    assert written[:-1] == sorted(written[:-1], key=int)


def test_broken_configuration(nowcast, publish):
    """One that cannot be read is told, and the old one stays."""
    n = nowcast()
    worker = publish("worker", n.ports["b"])
    good = n.config.read_text()
    n.config.write_text(good.replace("level: INFO", "level: LOUD"))
    n.hangup()
    wait_for("it is told", lambda: 'unknown level "LOUD"' in n.err)
    assert "the old configuration stays" in n.err
    worker.log.info("still here")
    wait_for("it goes on", lambda: "[worker] still here" in n.log())
    n.config.write_text(good.replace("level: INFO", "level: ERROR"))
    n.hangup()
    wait_for("it has reloaded", lambda: "reloaded:" in n.err)
    worker.log.warning("not in nowcast.log")
    worker.log.error("but this")
    wait_for("the new level", lambda: "[worker] but this" in n.log())
    assert "not in nowcast.log" not in n.log() and "not in nowcast.log" in n.log("nowcast.debug.log")


def check(config, *args, env=None):
    r = sawlog.run("nowcast", "--check", *args, config, env={"NOWCAST_LOGS": "/logs", "NOWCAST_ENV": "/env", **(env or {})})
    return r.returncode, r.stdout.decode(), r.stderr.decode()


def test_clashes(nowcast):
    """W-A5: a port that is there twice is refused before anything runs, with both lines."""
    n = nowcast(start=False)
    code, out, err = check(n.config)
    assert code == 0 and out.endswith(": ok for sawlog nowcast, 4 ports of publishers, 5 outputs\n"), err
    text = n.config.read_text()
    n.config.write_text(text.replace(f"127.0.0.1:{n.ports['d']}", f"localhost:{n.ports['manager']}"))
    lines = [i for i, line in enumerate(n.config.read_text().splitlines(), 1) if str(n.ports["manager"]) in line]
    code, out, err = check(n.config)
    assert code == 78 and err == (
        f"{n.config}:{lines[1]}:18: zmq.ports.logging.run_NEMO: port {n.ports['manager']} of localhost is already taken "
        f"by zmq.ports.manager on line {lines[0]}, column 14: each process that publishes needs a port of its own\n")
    n.start(wait=False)
    assert n.child.wait(20) == 78 and err in n.err
    assert not n.data.exists()


def test_missing_variable(nowcast):
    n = nowcast(start=False)
    n.config.write_text(n.config.read_text().replace("NOWCAST_LOGS)/nowcast.log", "NO_SUCH)/nowcast.log"))
    code, _, err = check(n.config)
    assert code == 78 and err.endswith(": handlers.info_text.filename: environment variable not set: NO_SUCH\n"), err


def test_as_deployed(tmp_path):
    """A configuration of the size and shape of a real one, with a handler of somebody else's class."""
    config = tmp_path / "nowcast.yaml"
    workers = ", ".join(map(str, [*range(5562, 5580), *range(5590, 5600)]))
    averaged = ", ".join(f"'{host}:{port}'" for port in range(5600, 5612) for host in ("west.example.org", "192.0.2.9"))
    text = CONFIG.replace("    root:\n", """\
      sentry:
        class: raven.handlers.logging.SentryHandler
        level: ERROR
      email:
        class: logging.handlers.SMTPHandler
        level: CRITICAL
        formatter: simple
        subject: 'CRITICAL Message: 100% from Nowcast'
        mailhost: smtp.example.org
        fromaddr: nowcast@example.org
        toaddrs: [one@example.org, two@example.org]
    root:
""").replace("bare, console]", "bare, console, sentry, email]")
    text = text[:text.index("zmq:\n")] + f"""\
zmq:
  host: salish.example.org
  ports:
    manager: 5561
    workers: 5555
    logging:
      message_broker: 5560
      manager: 5558
      workers: [{workers}]
      run_NEMO: ['west.example.org:5556', '192.0.2.9:5556']
      make_averaged_dataset: [{averaged}]
      run_fvcom: ['192.0.2.9:5584', '192.0.2.9:5585']
message registry:
  workers:
    download_weather: {{checklist key: weather forecast, success 00: 00 weather forecast ready}}
"""
    config.write_text(text)
    code, _, err = check(config)
    assert code == 78 and "sawlog has no handler raven.handlers.logging.SentryHandler" in err
    code, out, err = check(config, "--without", "sentry")
    assert code == 0 and "58 ports of publishers, 6 outputs" in out, out + err
    r = sawlog.run("nowcast", "--print", "--without", "sentry", config, env={"NOWCAST_LOGS": "/logs", "NOWCAST_ENV": "/e"})
    own = tmp_path / "sawlog.yaml"
    own.write_bytes(r.stdout)
    # It is a configuration of serve's.
    r = sawlog.run("check", own)
    assert r.returncode == 0, r.stderr


def test_no_message_ends_it(nowcast, publish):
    """W-A1: what ends the original costs nothing here."""
    n = nowcast()
    worker = publish("make.plots", n.ports["b"])
    worker.log.info("std::vector is empty")
    worker.log.info("ping fe80::1")
    for frames in ([b"make.plots.INFO"], [b"x.LOUD", b"unknown level"], [b"INFO", b"no root"], [b"", b""],
                   [b"x.handlers", b"a module of logging"], [b"\xff.INFO", b"\xff\x00"], [b"a.INFO", b"1", b"2"]):
        worker.socket.send_multipart(frames)
    worker.log.info("the last one")
    wait_for("the last one", lambda: "[make.plots] the last one" in n.log())
    assert "INFO [make.plots] std::vector is empty\n" in n.log() and "INFO [make.plots] ping fe80::1\n" in n.log()
    assert n.lines('{logger="make.plots"} | topic="std"') == ["std::vector is empty"]
    assert "unknown level" in n.log() and n.running


def test_known_and_searched(nowcast, publish):
    """W-A4, W-A9: who sent it is stored with each message, and it can be searched."""
    n = nowcast()
    worker = publish("make_plots", n.ports["b"])
    worker.log.error("no disk left on 3")
    worker.log.info("all is well")
    found = wait_for("it is stored", lambda: n.entries('{logger="make_plots", app="workers"} |= "disk"'))
    assert len(found) == 1
    ns, line, labels = found[0]
    assert line == "no disk left on 3" and abs(ns - time.time_ns()) < 60e9
    assert labels["severity"] == "ERROR" and labels["host"] and labels["peer"] == f"localhost:{n.ports['b']}"
    assert len(n.entries('{logger="make_plots"} | severity="INFO"')) == 1


def test_no_message_forges_a_line(nowcast, publish):
    """W-A8: with --multiline=indent a line that a message holds is not a line of the log."""
    n = nowcast(args=["--multiline", "indent"])
    worker = publish("worker", n.ports["b"])
    forged = "2026-11-21 10:00:00,000 CRITICAL [manager] all data deleted"
    worker.log.info("hello\n%s", forged)
    wait_for("it is written", lambda: forged in n.log())
    assert f"[worker] hello\n\t{forged}\n" in n.log()
    # In the store it is one record in any case.
    assert [e[1] for e in n.entries('{logger="worker"}')] == [f"hello\n{forged}"]


def test_email(nowcast, publish):
    """SMTPHandler: a mail for each critical message, as Python's handler sends it."""
    controller = pytest.importorskip("aiosmtpd.controller")
    mails = []

    class Keep:
        async def handle_DATA(self, server, session, envelope):
            mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
            return "250 OK"

    port = sawlog.free_port()
    smtp = controller.Controller(Keep(), hostname="127.0.0.1", port=port)
    smtp.start()
    try:
        n = nowcast(change=lambda text: text.replace("    root:\n", f"""\
      email:
        class: logging.handlers.SMTPHandler
        level: CRITICAL
        formatter: simple
        subject: 'CRITICAL: 100% of {{it}}'
        mailhost: [127.0.0.1, {port}]
        fromaddr: nowcast@example.org
        toaddrs: [one@example.org, two@example.org]
    root:
""").replace("bare, console]", "bare, console, email]"))
        worker = publish("worker", n.ports["b"])
        worker.log.error("not this")
        worker.log.critical("the sea is gone")
        wait_for("two mails", lambda: len(mails) == 2)
    finally:
        smtp.stop()
    import email
    import email.policy
    assert sorted(to for _, tos, _ in mails for to in tos) == ["one@example.org", "two@example.org"]
    for sender, _, content in mails:
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert sender == "nowcast@example.org" and mail["from"] == sender
        assert mail["subject"] == "CRITICAL: 100% of {it}"
        assert re.fullmatch(r"\d{4}-\d\d-\d\d [\d:,]+ CRITICAL \[worker\] the sea is gone", mail.get_content().strip())


def test_example(tmp_path):
    """examples/a-nowcast runs with one command."""
    folder = sawlog.ROOT / "examples/a-nowcast"
    text = (folder / "nowcast.yaml").read_text()
    code, _, err = check(folder / "nowcast.yaml")
    assert code == 0, err
    # On ports that are free here.
    taken = set()
    for port in sorted(set(re.findall(r"\b55\d\d\b", text))):
        free = sawlog.free_port()
        while free in taken:
            free = sawlog.free_port()
        taken.add(free)
        text = text.replace(port, str(free))
    config = tmp_path / "nowcast.yaml"
    config.write_text(text)
    r = subprocess.run(["sh", folder / "run.sh", sawlog.SAWLOG], capture_output=True, text=True, timeout=90,
                       env={**os.environ, "CONFIG": str(config), "PORT": str(sawlog.free_port())})
    assert r.returncode == 0, r.stderr
    for name in ("message_broker", "manager", "run_NEMO", "make_plots"):
        assert f" INFO [{name}] started\n" in r.stdout and f" CRITICAL [{name}] shutting down\n" in r.stdout
        assert f" INFO [{name}] Fraser River at Hope::3,400 m³/s\n" in r.stdout
    assert "ValueError: no forecast for tomorrow" in r.stdout.split("--- and the same")[1]
