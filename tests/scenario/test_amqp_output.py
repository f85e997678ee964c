# SPDX-License-Identifier: Apache-2.0
"""The amqp output and a real RabbitMQ: what is committed arrives confirmed, whatever breaks in between."""
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import time

import pytest
import sawlog
from sawlog import wait_for

# A broker under load takes its time to come back, and the output's pauses grow meanwhile.
LONG = 120


def config(rabbit, **more):
    settings = {"name": "mq", "url": rabbit.url, "match": '{app=~".+"}', "start": "begin", **more}
    return "outputs:\n  - amqp: " + json.dumps(settings).replace("$", "$$") + "\n"


class Queue:
    """A durable queue bound to the exchange, declared as aggregator C's programs do."""

    def __init__(self, rabbit, name="logQueue", keys=("#",), exchange="logs_exchange", durable=False, **arguments):
        self.rabbit, self.name = rabbit, name
        with rabbit.connect() as c:
            ch = c.channel()
            ch.exchange_declare(exchange, "topic", durable=durable)
            ch.queue_declare(name, durable=True, arguments=arguments or None)
            for key in keys:
                ch.queue_bind(name, exchange, key)

    def each(self, seconds=LONG):
        """What comes, acknowledged: (key, properties, body)."""
        until = time.monotonic() + seconds
        with self.rabbit.connect() as c:
            ch = c.channel()
            while True:
                assert time.monotonic() < until, "no more came"
                method, properties, body = ch.basic_get(self.name)
                if method is None:
                    c.process_data_events(0.05)
                    continue
                ch.basic_ack(method.delivery_tag)
                yield method.routing_key, properties, body.decode()

    def take(self, n):
        with contextlib.closing(self.each()) as messages:
            return list(itertools.islice(messages, n))

    def take_different(self, n):
        """Messages until n different ids came, by these; what has the same id is the same message."""
        seen = {}
        with contextlib.closing(self.each()) as messages:
            for _, properties, body in messages:
                assert seen.setdefault(properties.message_id, body) == body
                if len(seen) == n:
                    return sorted(seen.values())

    def bodies(self, n):
        return [body for _, _, body in self.take(n)]


def push(server, lines, **labels):
    metadata = {k: labels.pop(k) for k in ("severity", "trace_id") if k in labels}
    labels = {"app": "ServiceA", **labels}
    start = time.time_ns()
    values = [(str(start + i), line, metadata) if metadata else (str(start + i), line) for i, line in enumerate(lines)]
    wait_for("the push", lambda: server.push(labels, values).status == 204)


def numbered(first, n):
    return [f"line {i:06d}" for i in range(first, first + n)]


def cli(server, *args):
    return subprocess.run([sawlog.SAWLOG, "output", *args], capture_output=True, text=True,
                          env={**os.environ, "SAWLOG_ADDR": server.url}, timeout=sawlog.PATIENCE)


def status(server):
    done = cli(server, "list", "-o", "json")
    assert done.returncode == 0, done.stderr
    return next(o for o in json.loads(done.stdout) if o["name"] == "mq")


def dump(server):
    """What the output says of itself."""
    before = len(server.out)
    server.child.send_signal(signal.SIGUSR1)
    wait_for("the dump", lambda: "epoch" in server.out[before:])
    return server.out[before:]


def test_form_of_the_old_services(nodes, rabbit):
    """Without settings beside the URL: what aggregator C's programs publish, and persistent."""
    queue = Queue(rabbit)
    errors = Queue(rabbit, "monitoringQueue", ("*.Error", "*.Warn"))
    server = nodes.server(config=config(rabbit))
    push(server, ["all is well", "so it is"], severity="Info")
    push(server, ["it broke: a b c"], severity="Error")
    got = queue.take(3)
    assert [key for key, _, _ in got] == ["ServiceA.Info", "ServiceA.Info", "ServiceA.Error"]
    for _, properties, body in got:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ServiceA (Info|Error) .+", body)
        assert properties.delivery_mode == 2
        assert properties.app_id == "ServiceA" and properties.content_type == "text/plain"
        assert abs(properties.timestamp - time.time()) < 3600
    assert got[2][2].split(" ", 4)[4] == "it broke: a b c"
    ids = [p.message_id for _, p, _ in got]
    assert len(set(ids)) == 3 and all(":mq:" in i for i in ids)
    assert errors.bodies(1)[0].endswith("ServiceA Error it broke: a b c")
    wait_for("all is confirmed", lambda: "3 messages confirmed, 0 waiting" in dump(server))


def test_json_headers_and_words_of_its_own(nodes, rabbit):
    queue = Queue(rabbit, "q", ("web.#",))
    server = nodes.server(config=config(
        rabbit, body="json", headers=["host", "trace_id", "none"], routing_key="web.{{.host}}.{{.severity}}"))
    push(server, ['{"a": 1}\nsecond'], host="h1", trace_id="f00")
    (key, properties, body), = queue.take(1)
    assert key == "web.h1.Unknown"
    assert properties.headers == {"host": "h1", "trace_id": "f00"}
    assert properties.content_type == "application/json"
    record = json.loads(body)
    assert record["message"] == '{"a": 1}\nsecond' and record["app"] == "ServiceA" and record["host"] == "h1"
    assert record["trace_id"] == "f00" and record["timestamp"].endswith("Z")


def test_plain_body(nodes, rabbit):
    queue = Queue(rabbit)
    server = nodes.server(config=config(rabbit, body="plain", format="%(app)s|%(message)s"))
    push(server, ["one\ntwo\x1b"])
    assert queue.bodies(1) == ["ServiceA|one\ntwo\x1b"]


def test_broker_comes_late(nodes, rabbit):
    """W-C7: nothing crashes while the broker is away; what was committed meanwhile arrives."""
    queue = Queue(rabbit, durable=True)
    rabbit.broker.stop()
    server = nodes.server(config=config(rabbit, exchange_durable=True))
    push(server, numbered(0, 50), severity="Info")
    wait_for("it fails", lambda: status(server)["state"] == "failing")
    assert "connection refused" in status(server)["error"]
    rabbit.broker.start()
    cli(server, "resume", "mq")
    assert [b.split(" ", 4)[4] for b in queue.bodies(50)] == numbered(0, 50)


def test_broker_restarts_in_mid_flow(nodes, rabbit):
    """W-C3: a restart of the broker loses nothing that was committed; ids tell what came twice."""
    queue = Queue(rabbit, durable=True)
    server = nodes.server(config=config(rabbit, exchange_durable=True))
    for i in range(4):
        push(server, numbered(500 * i, 500), severity="Info")
        if i == 1:
            rabbit.broker.kill()
            rabbit.broker.start()
        if i == 2:
            rabbit.close_connections()
    cli(server, "resume", "mq")
    assert sorted(b.split(" ", 4)[4] for b in queue.take_different(2000)) == numbered(0, 2000)


def test_exchange_declared_anew(nodes, rabbit):
    """The exchange of C does not outlast a restart of the broker; the output makes it anew, and what no queue takes
    waits until the queue is bound again."""
    Queue(rabbit)
    server = nodes.server(config=config(rabbit))
    push(server, ["before"], severity="Info")
    wait_for("delivered", lambda: rabbit.depth("logQueue") == 1)
    rabbit.broker.restart()
    push(server, ["after"], severity="Info")
    wait_for("it is told", lambda: cli(server, "resume", "mq") and "no queue takes" in (status(server)["error"] or ""),
             LONG)
    queue = Queue(rabbit)
    cli(server, "resume", "mq")
    assert [b[-5:] for b in queue.bodies(2)] == ["efore", "after"]


def test_no_queue_yet(nodes, rabbit):
    """W-C4: what is published before there is a queue waits for it, in order."""
    server = nodes.server(config=config(rabbit))
    push(server, numbered(0, 30), severity="Info")
    wait_for("it is told", lambda: status(server)["state"] == "failing")
    text = status(server)["error"]
    assert 'no queue takes what goes to exchange "logs_exchange" with routing key "ServiceA.Info"' in text
    assert "bind one, or set unroutable: skip" in text
    queue = Queue(rabbit)
    cli(server, "resume", "mq")
    assert sorted(b.split(" ", 4)[4] for b in queue.bodies(30)) == numbered(0, 30)
    wait_for("it runs", lambda: status(server)["state"] == "running", LONG)


def test_unroutable_is_skipped_when_asked(nodes, rabbit):
    queue = Queue(rabbit, keys=("*.Error",))
    server = nodes.server(config=config(rabbit, unroutable="skip"))
    push(server, numbered(0, 20), severity="Info")
    push(server, ["bad"], severity="Error")
    assert queue.bodies(1)[0].endswith("bad")
    wait_for("counted", lambda: server.metric("sawlog_output_unroutable_total", output="mq") == 20)
    assert status(server)["state"] == "running"


def test_refused_by_a_full_queue(nodes, rabbit):
    """basic.nack: what a full queue refuses is published again, the same message."""
    queue = Queue(rabbit, **{"x-max-length": 3, "x-overflow": "reject-publish"})
    server = nodes.server(config=config(rabbit))
    push(server, numbered(0, 6), severity="Info")
    wait_for("it is told", lambda: "basic.nack" in (status(server).get("error") or ""))
    first = queue.take(3)
    cli(server, "resume", "mq")
    more = queue.take(3)
    ids = [p.message_id for _, p, _ in first + more]
    assert len(set(ids)) == 6
    assert sorted(b.split(" ", 4)[4] for _, _, b in first + more) == numbered(0, 6)


def test_memory_alarm(nodes, rabbit):
    queue = Queue(rabbit)
    server = nodes.server(config=config(rabbit))
    push(server, ["first"], severity="Info")
    wait_for("delivered", lambda: rabbit.depth("logQueue") == 1)
    with rabbit.broker.memory_alarm():
        push(server, numbered(0, 100), severity="Info")
        wait_for("it is told", lambda: "takes nothing now: low on memory" in (status(server).get("error") or ""))
        assert rabbit.depth("logQueue") == 1
    cli(server, "resume", "mq")
    assert [b.split(" ", 4)[4] for b in queue.bodies(101)] == ["first", *numbered(0, 100)]


def test_kill_and_restart_of_the_server(nodes, rabbit):
    """What was not confirmed when the server was killed comes again under the same id."""
    queue = Queue(rabbit)
    server = nodes.server(config=config(rabbit))
    push(server, numbered(0, 300), severity="Info")
    server.kill()
    server.start()
    push(server, numbered(300, 300), severity="Info")
    assert sorted(b.split(" ", 4)[4] for b in queue.take_different(600)) == numbered(0, 600)


def test_stop_delivers_once(nodes, rabbit):
    """An orderly stop waits for the confirms: nothing is published twice."""
    queue = Queue(rabbit)
    server = nodes.server(config=config(rabbit))
    push(server, numbered(0, 100), severity="Info")
    wait_for("delivered", lambda: rabbit.depth("logQueue") == 100)
    server.stop()
    server.start()
    push(server, ["last"], severity="Info")
    assert queue.bodies(101)[-1].endswith("last")
    assert rabbit.depth("logQueue") == 0


def test_wrong_credentials_and_vhost(nodes, rabbit):
    server = nodes.server(config=config(rabbit, url=rabbit.url_as("nobody", "hunter2")))
    wait_for("it fails", lambda: status(server)["state"] == "failing")
    assert "403 ACCESS_REFUSED" in status(server)["error"] and "check user and password" in status(server)["error"]
    shown = server.get("/config").body if server.get("/config").status == 200 else b""
    for text in (server.err, server.out, json.dumps(status(server)), str(shown)):
        assert "hunter2" not in text


def test_exchange_that_differs(nodes, rabbit):
    """Mismatched declarations: it is said, and used as it is."""
    queue = Queue(rabbit, durable=True)
    server = nodes.server(config=config(rabbit))
    push(server, ["x"], severity="Info")
    assert queue.bodies(1)[0].endswith("x")
    assert "inequivalent arg 'durable'" in server.err and "it is used as it is" in server.err


def test_exchange_that_is_not_there(nodes, rabbit):
    server = nodes.server(config=config(rabbit, declare="check"))
    push(server, ["x"], severity="Info")
    wait_for("it fails", lambda: "404 NOT_FOUND" in (status(server).get("error") or ""))
    queue = Queue(rabbit)
    cli(server, "resume", "mq")
    assert queue.bodies(1)[0].endswith("x")


def test_tls(nodes, rabbit):
    queue = Queue(rabbit)
    tls = rabbit.tls_url.replace("127.0.0.1", "localhost")
    server = nodes.server(config=config(rabbit, url=tls))
    push(server, ["over tls"], severity="Info")
    wait_for("it fails", lambda: "no TLS with this broker" in (status(server).get("error") or ""))
    server.config.write_text(config(rabbit, url=tls, tls={"ca": str(rabbit.ca)}))
    assert server.call("POST", "/-/reload").status == 200
    assert queue.bodies(1)[0].endswith("over tls")


def test_idle_connection_lives(nodes, rabbit):
    """Heartbeats are answered while there is nothing to send."""
    queue = Queue(rabbit)
    server = nodes.server(config=config(rabbit, url=rabbit.url + "?heartbeat=1"))
    push(server, ["a"], severity="Info")
    queue.bodies(1)
    wait_for("heartbeats", lambda: time.sleep(4) or True)
    assert "missed heartbeats" not in rabbit.broker.log
    assert rabbit.broker.call("length(rabbit_networking:connections()).") != "0"
    push(server, ["b"], severity="Info")
    assert queue.bodies(1)[0].endswith("b")
    assert status(server)["state"] == "running"


@pytest.mark.parametrize("text, words", [
    ("{}", "url"),
    ("{url: 'amqp://u:hunter2@h:0'}", "the port must be 1 to 65535"),
    ("{url: 'amqp://h', body: text, format: '%(message)s'}", "format belongs to `body: plain`"),
    ("{url: 'amqp://h', routing_key: '{{.app'}", "routing_key"),
    ("{url: 'amqp://h', unroutable: drop}", "retry"),
])
def test_settings_are_checked(tmp_path, text, words):
    file = tmp_path / "sawlog.yaml"
    file.write_text("outputs:\n  - amqp: " + text.replace("$", "$$") + "\n")
    done = sawlog.run("check", str(file))
    assert done.returncode != 0
    said = (done.stdout + done.stderr).decode()
    assert words in said and "hunter2" not in said


# -- sawlog emit

def emit(*args, stdin=None):
    done = sawlog.run("emit", *args, stdin=stdin)
    return done.returncode, done.stderr.decode()


def test_emit_is_an_old_service(rabbit):
    queue = Queue(rabbit)
    assert emit(rabbit.url, "--app", "ServiceA", "--severity", "Error", "it broke", "so did that")[0] == 0
    got = queue.take(2)
    for (key, properties, body), line in zip(got, ("it broke", "so did that")):
        assert key == "ServiceA.Error" and properties.delivery_mode == 2
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ServiceA Error " + line, body)
    assert got[0][1].message_id != got[1][1].message_id


@pytest.mark.parametrize("args, said", [
    (("--severity", "a b"), '--severity: must be one word with --form text, got "a b"'),
    (("--severity", ""), "--severity: must be one word"),
    (("--label", "zone=a"), "--label: only messages of --form json carry labels"),
])
def test_emit_refuses_what_a_form_cannot_carry(args, said):
    code, err = emit("amqp://127.0.0.1:1/", *args, "x")
    assert code == 2 and said in err


def test_emit_many_from_stdin(rabbit):
    queue = Queue(rabbit)
    lines = numbered(0, 3000)
    code, said = emit("amqp=" + rabbit.url, "--form", "plain", "--routing-key", "a.b", "--batch", "700",
                      stdin="\n".join(lines).encode())
    assert code == 0 and said.startswith("acknowledged 3000 lines")
    assert queue.bodies(3000) == lines


def test_emit_says_what_nobody_takes(rabbit):
    code, said = emit(rabbit.url, "--give-up", "500ms", "lost")
    assert code == 75 and "acknowledged 0 lines" in said and "refused 1" in said and "no queue takes" in said
    code, said = emit(rabbit.url_as("nobody", "hunter2"), "x")
    assert code == 77 and "check user and password" in said and "hunter2" not in said
    code, said = emit(f"amqp://u:hunter2@127.0.0.1:{sawlog.free_port()}", "--give-up", "300ms", "x")
    assert code == 69 and "connection refused" in said and "hunter2" not in said
    code, said = emit("amqp://u:hunter2@h:0", "x")
    assert code == 2 and "hunter2" not in said


def test_emit_over_a_restart_of_the_broker(rabbit):
    """What was acknowledged is there, also when the broker dies in between."""
    queue = Queue(rabbit, durable=True)
    child = subprocess.Popen([sawlog.SAWLOG, "emit", rabbit.url, "--generate", "--count", "3000", "--rate", "1000",
                              "--give-up", "120s", "--form", "plain"], stderr=subprocess.PIPE, text=True)
    wait_for("some arrived", lambda: (rabbit.depth("logQueue") or 0) > 200)
    rabbit.broker.kill()
    rabbit.broker.start()
    said = child.communicate(timeout=LONG)[1]
    assert child.returncode == 0 and "acknowledged 3000 lines" in said and "retries" in said, said
    assert queue.take_different(3000) == [f"emit line {i:09d}" for i in range(3000)]


def test_emit_ends_though_the_broker_says_nothing(rabbit):
    Queue(rabbit)
    child = subprocess.Popen([sawlog.SAWLOG, "emit", rabbit.url, "--generate", "--rate", "1000", "--batch", "1",
                              "--form", "plain"], stderr=subprocess.PIPE, text=True)
    wait_for("some arrived", lambda: (rabbit.depth("logQueue") or 0) > 20)
    rabbit.broker.pause()
    try:
        time.sleep(0.3)  # so that it waits for a confirm
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=10)[1]
    finally:
        rabbit.broker.resume()
        child.kill()
    assert child.returncode == 130 and "acknowledged" in said, (child.returncode, said)


# -- through, and back

def test_example(nodes, rabbit):
    text = (sawlog.ROOT / "examples" / "amqp-out.yaml").read_text()
    server = nodes.server(config=text, env={"RABBITMQ_URI": rabbit.url})
    services = Queue(rabbit)
    warnings = Queue(rabbit, "warnings", exchange="warnings", durable=True)
    push(server, ["fine"], severity="Info", host="h1")
    push(server, ['{"level":"error","msg":"it broke"}'], host="h1", trace_id="f00")
    assert [key for key, _, _ in services.take(2)] == ["ServiceA.Info", "ServiceA.Error"]
    (key, properties, body), = warnings.take(1)
    assert key == "h1.ServiceA" and properties.headers == {"trace_id": "f00"}
    assert json.loads(body)["message"] == '{"level":"error","msg":"it broke"}'


@pytest.mark.parametrize("body", ["text", "json", "plain"])
def test_from_store_to_store(nodes, rabbit, body):
    """What one server's output publishes, another's input stores: each record once, though the first is killed and what
    it had not seen confirmed comes twice."""
    settings = {"url": rabbit.url, "exchange": "logs_exchange", "queue": "logQueue"}
    taker = nodes.server(name="taker", start=False)
    taker.data, taker.config = nodes.folder / "taker-data", nodes.folder / "taker.yaml"
    taker.config.write_text("inputs:\n  - amqp: " + json.dumps(settings) + "\n")
    taker.start()
    wait_for("it consumes", lambda: rabbit.consumers("logQueue") == 1, LONG)
    giver = nodes.server(config=config(rabbit, body=body))
    push(giver, numbered(0, 400), severity="Error", host="h1")
    giver.kill()
    giver.start()
    push(giver, numbered(400, 400), severity="Info", host="h1")
    wait_for("all came", lambda: len(taker.lines('{app="ServiceA"}')) >= 800, LONG)
    wait_for("all is confirmed", lambda: "0 waiting" in dump(giver), LONG)
    assert sorted(taker.lines('{app="ServiceA"}')) == numbered(0, 800)
    assert len(taker.lines('{app="ServiceA"} | severity="Error"')) == 400
    if body == "json":
        assert len(taker.lines('{app="ServiceA"} | host="h1"')) == 800
