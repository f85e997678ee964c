# SPDX-License-Identifier: Apache-2.0
"""examples/b-python: NwLogger's interface over sawlog, and what the original loses or hangs on."""
import json
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import pytest
import sawlog

EXAMPLES = sawlog.ROOT / "examples/b-python"
sys.path.insert(0, str(EXAMPLES))
sys.dont_write_bytecode = True
import nwlogger as library  # noqa: E402
from nwlogger import MpLogger, NwLogger, NwLoggerError, SSHLogger  # noqa: E402

STAMP = r"\[ \d{4}-\d\d-\d\d,\d\d:\d\d:\d\d\.\d{6} \]"
SENTENCES = [
    ("example", "INFO   ", "Jackdaws love my big sphinx of quartz.", ""),
    ("example.e1", "INFO   ", "How quickly daft jumping zebras vex.", ""),
    ("example.e2", "WARNING", "Jail zesty vixen who grabbed pay from quack.", ""),
    ("example.e1", "DEBUG  ", "Quick zephyrs blow, vexing daft Jim.", r"\[ example\.main\(\d+\) \]"),
    ("example.e2", "ERROR  ", "The five boxing wizards jump quickly.", ""),
]


@pytest.fixture(autouse=True)
def use_this_sawlog(monkeypatch):
    monkeypatch.setenv("SAWLOG", sawlog.SAWLOG)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


@pytest.fixture
def logdir(tmp_path):
    return tmp_path / "logs"


def lines(file):
    return file.read_text().splitlines()


def messages(file):
    """What stands in the brackets of the message."""
    return [line.split(" ][ ", 4)[4].rsplit(" ]", 1)[0].split(" ][ ")[0] for line in lines(file)]


def program(name, *args, **more):
    return subprocess.run([sys.executable, str(EXAMPLES / name), *map(str, args)], timeout=60,
                          capture_output=True, text=True, **more)


def test_five_sentences(logdir):
    r = program("example.py", logdir)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    host = re.escape(os.uname().nodename)

    def expected(wanted):
        return [rf"{STAMP}\[ {level} \]\[ {host} \]\[ MainProcess \]\[ {re.escape(text)} \]{rest}"
                for name, level, text, rest in SENTENCES if (name + ".").startswith(wanted)]

    for file, wanted in {"all": "", "example": "example.", "example.e1": "example.e1.",
                         "example.e2": "example.e2."}.items():
        got = lines(logdir / f"{file}.log")
        assert len(got) == len(expected(wanted))
        for line, pattern in zip(got, expected(wanted)):
            assert re.fullmatch(pattern, line), line
    assert sorted(p.name for p in logdir.iterdir()) == [
        ".sawlog", "all.log", "example.e1.log", "example.e2.log", "example.log"]


def test_all_of_it_can_be_searched_later(nodes, logdir):
    program("example.py", logdir)
    server = nodes.server(start=False)
    server.data = logdir / ".sawlog/example/store"
    server.start()
    got = [(labels["logger"], line) for _, line, labels in server.entries('{input="python"}')]
    assert got == [(name, text) for name, _, text, _ in SENTENCES]


def test_tree_of_processes(logdir):
    """Spawned and forked: every record once, in the order of its process (W-B1, W-B2)."""
    r = program("processes.py", logdir, 4, 2000)
    assert (r.returncode, r.stderr) == (0, ""), r.stderr
    want = [f"record {i} of 2000" for i in range(1, 2001)]
    for number in range(4):
        assert messages(logdir / f"tree.worker{number}.log") == want
    assert len(lines(logdir / "tree.log")) == len(lines(logdir / "all.log")) == 4 * 2000 + 2


def test_again_and_again(logdir):
    """Another run goes on with the same files; no record comes twice."""
    for i in range(3):
        with NwLogger("run", logdir=logdir) as nwlogger:
            nwlogger.get_logger().info("run %d", i)
    assert messages(logdir / "run.log") == ["run 0", "run 1", "run 2"]
    with NwLogger("run", logdir=logdir, file_mode="w") as nwlogger:
        nwlogger.get_logger().info("run 3")
    assert messages(logdir / "run.log") == ["run 3"]


def test_stop_loses_nothing_received(logdir):
    """stop() right behind a burst (W-B1)."""
    nwlogger = NwLogger("burst", logdir=logdir)
    logger = nwlogger.start()
    for i in range(20_000):
        logger.info("record %d", i)
    assert nwlogger.stop()
    assert messages(logdir / "burst.log") == [f"record {i}" for i in range(20_000)]
    assert nwlogger.stop(), "twice is fine"


def test_stop_has_an_end(logdir):
    """Also when the collector does not answer any more (W-B5)."""
    nwlogger = NwLogger("stuck", logdir=logdir)
    logger = nwlogger.start()
    logger.info("x")
    nwlogger._child.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert nwlogger.stop(timeout=1) is False
    assert time.monotonic() - began < 10


def test_any_text(logdir):
    """Text that is no ASCII, values of odd types, tracebacks, and lines that forge lines (W-B6)."""
    with NwLogger("text", logdir=logdir) as nwlogger:
        logger = nwlogger.get_logger()
        logger.info("größer als %s", "日本語 🦓")
        logger.info("an %s", "object", extra={"odd": object(), "deep": {"a": [1, {2}]}})
        logger.info("one\n[ 2026-01-01,00:00:00.000000 ][ ERROR   ][ x ][ y ][ forged ]")
        try:
            raise ValueError("küche")
        except ValueError:
            logger.exception("failed")
    got = lines(logdir / "text.log")
    assert "][ größer als 日本語 🦓 ]" in got[0] and "][ an object ]" in got[1]
    assert got[3].startswith("\t[ 2026-01-01")
    assert "][ failed ]" in got[4] and got[5] == "\tTraceback (most recent call last):"
    assert got[-1] == "\tValueError: küche"


def test_formats_levels_and_names(logdir):
    nwlogger = NwLogger(
        "own", logdir=logdir, logging_level=logging.WARNING, datefmt="%H:%M", file_prefix="pre", file_suffix="suf",
        level_formats={logging.ERROR: "E %(asctime)s %(message)s %(ip)s", "default": "D %(name)s %(message)s"})
    logger = nwlogger.start(name="own.part")
    assert logger.name == "own.part"
    logger.info("not of this level")
    logger.warning("warned")
    logger.error("failed")
    nwlogger.stop()
    got = lines(logdir / "pre.own.part.suf.log")
    assert got == lines(logdir / "pre.own.suf.log")
    assert got[0] == "D own.part warned" and re.fullmatch(r"E \d\d:\d\d failed \d+\.\d+\.\d+\.\d+", got[1])


def test_other_keys(logdir):
    with NwLogger("keys", logdir=logdir, key="processName") as nwlogger:
        nwlogger.get_logger().info("x")
    assert messages(logdir / "MainProcess.log") == ["x"]


def test_a_record_that_passes_several_loggers_is_one(logdir):
    with NwLogger("a", logdir=logdir) as nwlogger:
        for name in ("a", "a.b", "a.b.c"):
            nwlogger.get_logger(name=name)
        logging.getLogger("a.b.c").info("once")
    assert messages(logdir / "a.log") == messages(logdir / "a.b.c.log") == ["once"]


def log_without_asking(number):
    logging.getLogger("forked").info("child %d", number)


def test_forked_children_have_connections_of_their_own(logdir):
    """They inherit the logger; were its socket shared, frames would mix."""
    with NwLogger("forked", logdir=logdir) as nwlogger:
        logger = nwlogger.get_logger()
        logger.info("before")
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=log_without_asking, args=(i,)) for i in range(8)]
        for child in children:
            child.start()
        for child in children:
            child.join(20)
            assert child.exitcode == 0
        logger.info("behind")
    assert sorted(messages(logdir / "forked.log")) == sorted(
        ["before", "behind"] + [f"child {i}" for i in range(8)])


def test_a_client_goes_on_when_the_collector_is_back(nodes):
    """What is logged meanwhile waits in the program; SocketHandler throws it away."""
    port = sawlog.free_port()
    server = nodes.server(args=["--input", f"python=tcp://127.0.0.1:{port}"])
    handler = library._Handler("127.0.0.1", port)
    logger = logging.Logger("patient")
    logger.addHandler(handler)
    try:
        logger.warning("before")
        sawlog.wait_for("the first", lambda: server.lines('{logger="patient"}') == ["before"])
        server.stop()
        for i in range(50):
            logger.warning("away %d", i)
        server.start()

        def poke():
            handler.retryTime = None
            logger.warning("back")
            return len(server.lines('{logger="patient"}')) > 51

        sawlog.wait_for("the rest", poke)
    finally:
        handler.close()
    assert server.lines('{logger="patient"}')[:51] == ["before"] + [f"away {i}" for i in range(50)]


KILLED = """
import logging, os, signal, sys
sys.path.insert(0, {examples!r})
from nwlogger import NwLogger
logger = NwLogger("killed", logdir={logdir!r}).start()
for i in range(100):
    logger.info("record %d", i)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_program_leaves_nothing_behind(logdir):
    """Its collector has all it sent, and makes room for the next."""
    script = KILLED.format(examples=str(EXAMPLES), logdir=str(logdir))
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == -signal.SIGKILL
    pid = int((logdir / ".sawlog/killed/running").read_text().split()[0])
    with NwLogger("killed", logdir=logdir) as nwlogger:
        assert not os.path.exists(f"/proc/{pid}")
        nwlogger.get_logger().info("next")
    assert messages(logdir / "killed.log") == [f"record {i}" for i in range(100)] + ["next"]


def test_a_killed_collector_keeps_what_it_acknowledged(logdir):
    """The files are completed by its next life, and no line comes twice."""
    nwlogger = NwLogger("crash", logdir=logdir)
    logger = nwlogger.start()
    for i in range(500):
        logger.info("record %d", i)

    def stored():
        query = urllib.parse.urlencode({"query": 'count_over_time({logger="crash"}[1h])'})
        with urllib.request.urlopen(f"{nwlogger.url}/loki/api/v1/query?{query}", timeout=10) as answer:
            result = json.load(answer)["data"]["result"]
        return sum(int(r["value"][1]) for r in result) == 500

    sawlog.wait_for("all is stored", stored)
    nwlogger._child.kill()
    assert nwlogger.stop() is False
    with NwLogger("crash", logdir=logdir) as again:
        again.get_logger().info("again")
    assert messages(logdir / "crash.log") == [f"record {i}" for i in range(500)] + ["again"]


def test_an_interrupt_stops_in_order(logdir):
    """Ctrl-C is for the program; what it logs on its way out is kept."""
    script = KILLED.format(examples=str(EXAMPLES), logdir=str(logdir)).replace(
        "os.kill(os.getpid(), signal.SIGKILL)",
        "try:\n    os.killpg(0, signal.SIGINT)\n    signal.pause()\n"
        "except KeyboardInterrupt:\n    logger.info('interrupted')")
    r = subprocess.run([sys.executable, "-c", script], timeout=60, start_new_session=True)
    assert r.returncode == 0
    assert messages(logdir / "killed.log") == [f"record {i}" for i in range(100)] + ["interrupted"]


def test_console(logdir):
    script = ("import sys; sys.path.insert(0, %r); from nwlogger import NwLogger\n"
              "with NwLogger('con', logdir=%r, console=True) as n: n.get_logger().info('seen')"
              % (str(EXAMPLES), str(logdir)))
    r = subprocess.run([sys.executable, "-c", script], timeout=60, capture_output=True, text=True)
    assert r.stdout == (logdir / "con.log").read_text() and "[ seen ]" in r.stdout, r.stderr


def test_without_sawlog(logdir, monkeypatch):
    monkeypatch.setenv("SAWLOG", "/nowhere/sawlog")
    with pytest.raises(NwLoggerError, match="SAWLOG is '/nowhere/sawlog', which is no program"):
        NwLogger("x", logdir=logdir).start()
    monkeypatch.delenv("SAWLOG")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NwLoggerError, match="not on PATH"):
        NwLogger("x", logdir=logdir).start()


def test_two_at_once(logdir):
    """The second says why it cannot; others of other names can."""
    with NwLogger("one", logdir=logdir):
        with pytest.raises(NwLoggerError, match="sawlog ended at its start"):
            NwLogger("one", logdir=logdir).start()
        with NwLogger("two", logdir=logdir) as other:
            other.get_logger().info("x")
    assert messages(logdir / "two.log") == ["x"]


def test_a_port_that_is_taken(nodes, logdir):
    port = sawlog.free_port()
    nodes.server(args=["--input", f"python=tcp://127.0.0.1:{port}"])
    with pytest.raises(NwLoggerError, match="somebody else does"):
        NwLogger("x", logdir=logdir, port=port).start()


@pytest.mark.parametrize("wrong", [{"host": "0.0.0.0"}, {"file_mode": "x"}, {"when": "s"}, {"interval": 5}])
def test_wrong_arguments(logdir, wrong):
    with pytest.raises(ValueError):
        NwLogger("x", logdir=logdir, **wrong)


def test_names_and_misuse(logdir):
    assert MpLogger is NwLogger and SSHLogger is NwLogger
    with pytest.raises(NwLoggerError, match="start"):
        NwLogger("x", logdir=logdir).logger_info()
    with pytest.raises(TypeError):
        NwLogger.get_logger()


def test_rotation(logdir):
    with NwLogger("big", logdir=logdir, maxBytes=20_000, backupCount=3) as nwlogger:
        logger = nwlogger.get_logger()
        for i in range(400):
            logger.info("record %03d", i)
    kept = ["big.log"] + [f"big.log.{i}" for i in range(1, 4) if (logdir / f"big.log.{i}").exists()]
    assert len(kept) > 1 and {p.name for p in logdir.glob("big.log*")} == set(kept)
    assert all((logdir / name).stat().st_size <= 20_000 for name in kept)
    tail = [m for name in reversed(kept) for m in messages(logdir / name)]
    assert tail == [f"record {i:03d}" for i in range(400)][-len(tail):]
