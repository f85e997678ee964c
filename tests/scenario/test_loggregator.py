# SPDX-License-Identifier: Apache-2.0
"""The loggregator input over datagrams: all forms, signatures, what is refused, and what is lost."""
import random
import signal
import socket
import subprocess
import threading
import time

import loggregator
import pytest
import sawlog
from loggregator import DropsondeEmitter, Emitter
from sawlog import free_port, wait_for

GOLDEN = bytes.fromhex(
    "0a096d795f6170705f69641240c8329be5c05154cf0649aa4d4500e4d2139e9ec4a7a4cabd7c36191ac8fa4140d5b7744c8e52db3d672762ab"
    "037b30a2e8d84526974b2428fda2010928dbe5371a2b0a0c48656c6c6f20746865726521100118e097a9dea1d9f6b12622096d795f6170705f"
    "6964280132023432")


@pytest.fixture
def listening(nodes):
    """listening("shared_secret: x"): a server with one loggregator input, its address as .at"""
    def start(settings=""):
        port = free_port()
        settings = f", {settings}" if settings else ""
        server = nodes.server(
            config=f"inputs:\n  - loggregator: {{listen: 'udp://127.0.0.1:{port}'{settings}}}\n")
        wait_for("it listens", lambda: "inputs running" in server.out)
        server.at = ("127.0.0.1", port)
        return server

    return start


def some(server, n=1, logql='{input="loggregator", app!="loggregator-drops"}'):
    """The entries, once there are n."""
    return wait_for(f"{n} of {logql}", lambda: (lambda e: e if len(e) >= n else None)(server.entries(logql)))


def refused(server, reason):
    return server.metric("sawlog_dropped_records_total", input="loggregator", reason=reason)


@pytest.mark.parametrize("secret", ["secret", None])
def test_each_form(listening, secret):
    """Signed and not, with the field that was removed and without."""
    server = listening(f"shared_secret: {secret}" if secret else "")
    for source_type in loggregator.WARDEN_CONTAINER, None:
        with Emitter(server.at, "guid", secret, source_type=source_type, source_id="3") as e:
            assert e.emit("first\n\nsecond\rthird", err=source_type is None) == 3
    with DropsondeEmitter(server.at, "guid", secret, instance="4", tags={"origin_region": "z1"}) as e:
        e.emit("dropsonde", err=True)
    entries = some(server, 7)
    assert sorted(line for _, line, _ in entries) == sorted(["first", "second", "third"] * 2 + ["dropsonde"])
    of_2013 = [labels for _, line, labels in entries if line == "first"]
    for labels in of_2013:
        assert (labels["app"], labels["source"], labels["input"]) == ("guid", "App/3", "loggregator")
        assert (labels["instance_id"], labels["source_type"]) == ("3", "App")
        assert "event" not in labels
    assert sorted(labels["message_type"] for labels in of_2013) == ["ERR", "OUT"]
    labels, = [labels for _, line, labels in entries if line == "dropsonde"]
    assert (labels["source"], labels["message_type"], labels["origin_region"]) == ("APP/4", "ERR", "z1")
    assert labels["detected_level"] == "error"


def test_golden_envelope(listening):
    """What loggregatorlib's own test signs."""
    server = listening("shared_secret: secret, require_signature: true")
    with loggregator.Datagrams(server.at) as d:
        d.send(GOLDEN)
    (at, line, labels), = some(server)
    assert (at, line) == (1383147578860054000, "Hello there!")
    assert (labels["app"], labels["source"], labels["message_type"]) == ("my_app_id", "API/42", "OUT")


def test_metrics_are_records(listening):
    server = listening()
    now = time.time_ns()
    with DropsondeEmitter(server.at, "01234567-89ab-cdef-0123-456789abcdef", origin="gorouter") as e:
        e.metric("latency", 0.25, "ms", deployment="cf", job="router", index="7", ip="10.0.0.9")
        e.counter("requests", 2, 18446744073709551615)
        e.container(12.5, 1000, 2000, 3000, 4000, index=2)
        e.http("/x?y=1", 404, now, now + 2_500_000)
        e.error("gorouter", -3, "it failed")
    by = {labels["event"] + labels.get("instance_id", ""): (line, labels) for _, line, labels in some(server, 5)}
    assert by["gauge"][0] == "latency=0.25"
    labels = by["gauge"][1]
    assert {k: labels[k] for k in ("app", "unit_latency", "deployment", "job", "index", "ip", "origin")} == {
        "app": "gorouter", "unit_latency": "ms", "deployment": "cf", "job": "router", "index": "7", "ip": "10.0.0.9",
        "origin": "gorouter"}
    assert by["counter"][0] == "name=requests delta=2 total=18446744073709551615"
    assert by["gauge2"][0] == "cpu=12.5 memory=1000 disk=2000 memory_quota=3000 disk_quota=4000"
    assert by["timer0"][0] == "name=http duration=2.5ms method=GET uri=\"/x?y=1\" status_code=404"
    assert by["timer0"][1]["request_id"] == "01234567-89ab-cdef-0123-456789abcdef"
    assert by["error"][0] == "it failed" and by["error"][1]["code"] == "-3"
    # And without the line's being read: the numbers are fields.
    answer = server.get("/loki/api/v1/query", {
        "query": 'sum by (app) (sum_over_time({event="gauge"} | unwrap metric_latency [1h]))'}).json()
    values = {r["metric"]["app"]: float(r["value"][1]) for r in answer["data"]["result"]}
    assert values["gorouter"] == 0.25


def test_types_that_are_not_wanted_are_counted(listening):
    server = listening("types: [log, counter]")
    with DropsondeEmitter(server.at) as e:
        e.metric("latency", 1, "ms")
        e.container(1, 2, 3)
        e.counter("requests", 1, 1)
        e.emit("text")
    assert sorted(line for _, line, _ in some(server, 2)) == ["name=requests delta=1 total=1", "text"]
    wait_for("the others are counted", lambda: refused(server, "type") == 2)


def test_wrong_signatures_are_counted_told_and_never_stored(listening):
    """W-D7: who has not the secret gets nothing in."""
    server = listening("shared_secret: secret")
    with Emitter(server.at, "guid", "Secret") as e:
        e.emit("forged\nforged too")
    with Emitter(server.at, "guid") as e:
        e.emit("bare")
    with DropsondeEmitter(server.at, "guid", "other") as e:
        # Always the same digest: about one in a hundred looks like fields, and the datagram like an unsigned one.
        e.emit("forged", timestamp=10**18)
    with loggregator.Datagrams(server.at) as d:
        d.send(b"no message")
        d.send(b"")
    with Emitter(server.at, "guid", "secret") as e:
        e.emit("right")
    assert [line for _, line, _ in some(server)] == ["right"]
    wait_for("all are counted", lambda: (
        refused(server, "signature"), refused(server, "unsigned"), refused(server, "malformed")) == (3, 1, 2))
    told = wait_for("it is told", lambda: server.lines('{app="loggregator-drops"}'))
    assert sum(int(line.split()[1]) for line in told) == 6, told
    assert "3 signature" in " ".join(told) and "the last from 127.0.0.1:" in told[0]
    assert "a signature that is not of our secret" in server.err


def test_a_signature_works_once(listening):
    """W-D7: 2013's signature covers the text alone; with another application or time, or again, it is refused."""
    server = listening("shared_secret: secret")
    with Emitter(server.at, "guid", "secret") as e:
        whole = e.send(e.datagram(b"pay 100"))
        e.send(whole)
        parts = dict(loggregator.fields(whole))
        m = loggregator.LogMessage.decode(parts[3])
        m.app, m.timestamp, m.drains = "other", 1, ["syslog://evil.example:514"]
        e.send(loggregator.chunk(1, "other") + loggregator.chunk(2, parts[2]) + loggregator.chunk(3, m.encode()))
        e.emit("pay 100")  # the same text again is signed anew
    assert [labels["app"] for _, _, labels in some(server, 2)] == ["guid", "guid"]
    wait_for("both are counted", lambda: refused(server, "replayed") == 2)


def test_signatures_may_be_optional(listening):
    server = listening("shared_secret: secret, require_signature: false")
    with Emitter(server.at, "guid") as e:
        e.emit("bare")
    with Emitter(server.at, "guid", "wrong") as e:
        e.emit("forged")
    with Emitter(server.at, "guid", "secret") as e:
        e.emit("signed")
    assert sorted(line for _, line, _ in some(server, 2)) == ["bare", "signed"]
    wait_for("the forged one is counted", lambda: refused(server, "signature") == 1)


@pytest.mark.parametrize("form,taken", [("2013", "of 2013"), ("dropsonde", "of 2014")])
def test_one_form_alone(listening, form, taken):
    server = listening(f"form: {form}, shared_secret: secret")
    with Emitter(server.at, "guid", "secret") as e:
        e.emit("of 2013")
    with DropsondeEmitter(server.at, "guid", "secret") as e:
        e.emit("of 2014")
    assert [line for _, line, _ in some(server)] == [taken]
    wait_for("the other is refused", lambda: server.metric("sawlog_dropped_records_total", input="loggregator") == 1)


def test_secret_out_of_a_file(listening, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    server = listening(f"shared_secret_file: {secret}")
    with Emitter(server.at, "guid", "from a file") as e:
        e.emit("text")
    assert [line for _, line, _ in some(server)] == ["text"]


def test_drain_urls_are_told_when_they_change(listening):
    """Once for an application, not in each of its records; of applications alone; and when there is none any more."""
    server = listening()
    with Emitter(server.at, "guid", drains=["syslog://a.example:1", "https://b.example/x"]) as e:
        e.emit("one\ntwo")
        some(server, 2)
        e.drains = ["syslog://a.example:1"]
        e.emit("three\nfour")
        some(server, 4)
        e.drains = []
        e.emit("five\nsix")
        some(server, 6)
    with Emitter(server.at, "guid", source_type=loggregator.ROUTER, drains=["syslog://c.example:1"]) as e:
        e.emit("of a router")
    entries = some(server, 7)
    assert {line: labels["drain_urls"] for _, line, labels in entries if "drain_urls" in labels} == {
        "one": "syslog://a.example:1 https://b.example/x", "three": "syslog://a.example:1", "five": "-"}


def test_stack_traces_and_large_messages_are_whole(listening):
    """W-D2, W-D9: a burst of 2,000 lines of one application is there to the last, and a datagram of 60 KB uncut."""
    server = listening()
    large = "x" * 60_000
    with Emitter(server.at, "guid") as e:
        e.send(e.datagram(large.encode()))
        for i in range(2000):
            e.send(e.datagram(b"\tat com.example.Frame%d" % i, err=True))
    lines = [line for _, line, _ in some(server, 2001)]
    assert lines[0] == large and lines[1:] == [f"\tat com.example.Frame{i}" for i in range(2000)]


def test_max_line(listening):
    server = listening("max_line: 1000")
    with Emitter(server.at, "guid") as e:
        e.send(e.datagram(b"y" * 5000))
        e.send(e.datagram(b"after"))
    (_, cut, labels), (_, after, _) = some(server, 2)
    assert (cut, labels["truncated_from"], after) == ("y" * 1000, "5000", "after")
    assert server.metric("sawlog_cut_records_total", input="loggregator") == 1


def test_levels(listening):
    """What the line says counts, then whether it was written to stderr."""
    server = listening()
    with Emitter(server.at, "guid") as e:
        e.emit("plain")
        e.emit("plain too", err=True)
        e.emit("level=debug msg=x", err=True)
    by = {line: labels["detected_level"] for _, line, labels in some(server, 3)}
    assert by == {"plain": "info", "plain too": "error", "level=debug msg=x": "debug"}


def test_what_the_kernel_drops_is_counted_and_told(listening):
    """W-D1, W-D6: received and dropped are all that was sent, and the stream says so."""
    server = listening("receive_buffer: 4096")
    sent = 0
    with Emitter(server.at, "guid") as e:
        server.child.send_signal(signal.SIGSTOP)
        for i in range(500):
            e.send(e.datagram(b"line %d" % i + b"." * 200))
            sent += 1
        server.child.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        e.emit("the last")
        sent += 1

    def lost():
        return refused(server, "kernel_drop")

    wait_for("all are accounted for", lambda: lost() + len(server.lines('{app="guid"}')) == sent)
    assert lost() > 100
    told = wait_for("it is told", lambda: server.lines('{app="loggregator-drops"}'))
    assert sum(int(line.split()[1]) for line in told) == lost()


def test_nothing_is_lost_or_taken_twice_by_a_reload(listening, nodes):
    server = listening("shared_secret: secret, receive_buffer: 32MiB")
    stop, sent = threading.Event(), []

    def send():
        with Emitter(server.at, "guid", "secret") as e:
            while not stop.is_set():
                sent.append(f"line {len(sent)}")
                e.emit(sent[-1])
                time.sleep(0.0005)

    sender = threading.Thread(target=send)
    sender.start()
    for zone in "z1", "z2", "z3":
        time.sleep(0.3)
        server.config.write_text(server.config.read_text().replace("}\n", f", labels: {{zone: {zone}}}}}\n", 1)
                                 if zone == "z1" else server.config.read_text().replace("zone: z", "zone: zz"))
        server.child.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    stop.set()
    sender.join()
    entries = some(server, len(sent), '{app="guid"}')
    assert sorted(line for _, line, _ in entries) == sorted(sent)
    assert len({labels.get("zone") for _, _, labels in entries}) > 1


def test_what_came_is_committed_at_the_end(listening):
    server = listening()
    with Emitter(server.at, "guid") as e:
        for i in range(3000):
            e.send(e.datagram(b"line %d" % i))
    server.stop()
    server.start()
    assert len(server.lines('{app="guid"}')) == 3000


def test_garbage_hurts_nobody(listening):
    server = listening("shared_secret: secret")
    rng = random.Random(8)
    with Emitter(server.at, "guid", "secret") as e:
        good = e.datagram(b"a good one")
        for i in range(2000):
            data = bytearray(rng.choice([good, GOLDEN, rng.randbytes(rng.randrange(200))]))
            for _ in range(rng.randrange(1, 4)):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
            e.send(bytes(data[:rng.randrange(len(data) + 1)]))
        e.emit("still there")
    lines = [line for _, line, _ in wait_for(
        "the last", lambda: (lambda x: x if x and x[-1][1] == "still there" else None)(
            server.entries('{app="guid"}')))]
    assert lines[-1] == "still there"
    # Whatever got in had the secret's signature over its text.
    assert set(lines) <= {"still there", "a good one"}
    assert server.running


@pytest.mark.parametrize("settings,sentence", [
    ("listen: 'tcp://127.0.0.1:1'", "must begin with udp://"),
    ("listen: 'udp://0.0.0.0:3456'", "asks nobody who he is"),
    ("listen: 'udp://127.0.0.1:1', types: [logs]", '"logs" is none'),
    ("listen: 'udp://127.0.0.1:1', require_signature: true", "needs shared_secret"),
    ("listen: 'udp://127.0.0.1:1', shared_secret: a, shared_secret_file: /b", "only one of them"),
    ("listen: 'udp://127.0.0.1:1', form: 2012", "form"),
])
def test_settings_that_make_no_sense(tmp_path, settings, sentence):
    config = tmp_path / "sawlog.yaml"
    config.write_text(f"inputs:\n  - loggregator: {{{settings}}}\n")
    done = subprocess.run([sawlog.SAWLOG, "check", str(config)], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and sentence in done.stdout + done.stderr, done


@pytest.mark.parametrize("form", ["2013", "dropsonde"])
def test_emit(listening, tmp_path, form):
    """sawlog emit loggregator=udp://…"""
    server = listening("shared_secret: secret")
    (tmp_path / "secret").write_text("secret\n")
    done = sawlog.run("emit", f"loggregator=udp://127.0.0.1:{server.at[1]}", "--app", "mine", "--form", form,
                      "--secret-file", str(tmp_path / "secret"), "--severity", "Error", "one", "", "two")
    assert done.returncode == 0 and "sent 3 lines" in done.stderr.decode(), done.stderr
    entries = some(server, 2)
    source = {"2013": "App/0", "dropsonde": "APP/0"}[form]
    assert [(line, labels["app"], labels["source"], labels["message_type"]) for _, line, labels in entries] == [
        ("one", "mine", source, "ERR"), ("two", "mine", source, "ERR")]


def test_emit_to_nobody():
    done = sawlog.run("emit", f"loggregator=udp://127.0.0.1:{free_port()}", "--give-up", "100ms", "--batch", "1",
                      "one", "two")
    assert done.returncode != 0 and "nobody takes datagrams" in done.stderr.decode(), done.stderr
    for to, more, said in [("udp://nowhere", [], "must be loggregator=udp://HOST:PORT"),
                           ("tcp://127.0.0.1:1", [], "must be loggregator=udp://HOST:PORT"),
                           ("udp://127.0.0.1:1", ["--form", "json"], "must be 2013 or dropsonde"),
                           ("udp://127.0.0.1:1", ["--label", "a=b"], "carry no labels")]:
        done = sawlog.run("emit", f"loggregator={to}", *more, "one")
        assert done.returncode == 2 and said in done.stderr.decode(), done.stderr


def test_unix_datagrams(nodes, tmp_path):
    path = tmp_path / "l.sock"
    server = nodes.server(config=f"inputs:\n  - loggregator: {{listen: 'unix-dgram://{path}'}}\n")
    wait_for("it listens", path.exists)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(str(path))
        s.send(loggregator.LogMessage(b"text", app="guid", timestamp=time.time_ns()).encode())
    assert [line for _, line, _ in some(server)] == ["text"]


def test_the_example(nodes):
    first, second = free_port(), free_port()
    config = (sawlog.ROOT / "examples/loggregator.yaml").read_text()
    server = nodes.server(config=config.replace(":3456'", f":{first}'").replace(":3457'", f":{second}'"))
    for port, form in (first, "2013"), (second, "dropsonde"):
        sawlog.run("emit", f"loggregator=udp://127.0.0.1:{port}", "--form", form, "--app", "my-app", f"of {form}")
    with DropsondeEmitter(("127.0.0.1", second)) as e:
        e.metric("latency", 1, "ms")
    assert sorted(line for _, line, _ in some(server, 2)) == ["of 2013", "of dropsonde"]
    wait_for("the metric is counted", lambda: refused(server, "type") == 1)


def test_the_page_says_what_is_kept():
    """doc/input/loggregator.md names how many signatures are remembered."""
    page = (sawlog.ROOT / "doc/input/loggregator.md").read_text()
    source = (sawlog.ROOT / "src/input/loggregator_input.h").read_text()
    kept = int(source.split("REPLAYS_MIN = ")[1].split(" ")[0])
    assert f"{kept:,}" in page
