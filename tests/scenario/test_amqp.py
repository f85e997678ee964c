# SPDX-License-Identifier: Apache-2.0
"""The amqp input against a real RabbitMQ: what publishers send, and what goes wrong with brokers."""
import contextlib
import decimal
import itertools
import json
import re
import signal
import socket
import threading
import time

import pytest
import sawlog
from rabbit import pika
from sawlog import SANITIZED, free_port, wait_for

LOAD = 3000 if SANITIZED else 20000


def config(url, **options):
    """A config with one amqp input."""
    lines = "".join(f"\n      {name}: {json.dumps(value)}" for name, value in options.items())
    return f"inputs:\n  - amqp:\n      url: {json.dumps(url)}{lines}\n"


def consuming(server, n=1):
    """It has subscribed, n times since its start."""
    wait_for("the input consumes", lambda: server.err.count("takes the messages of queue") >= n, 60)
    return server


def start(nodes, rabbit, url=None, wait=True, **options):
    server = nodes.server(config=config(url or rabbit.url, **options))
    return consuming(server) if wait else server


def another(nodes, name, url, **options):
    """One more server of a test, with files and data of its own."""
    server = nodes.server(name=name, start=False)
    server.data = nodes.folder / f"{name}-data"
    server.config = nodes.folder / f"{name}.yaml"
    server.config.write_text(config(url, **options))
    return server.start()


def lines_within(server, n, logql='{input="amqp"}', seconds=60):
    """All lines once there are n."""
    wait_for(f"{n} lines of {logql}", lambda: count(server, logql) >= n, seconds)
    return server.lines(logql)


def count(server, logql='{input="amqp"}'):
    data = server.get("/loki/api/v1/query", {"query": f"sum(count_over_time({logql}[10y]))"}).json()["data"]
    return int(float(data["result"][0]["value"][1])) if data["result"] else 0


def empty(rabbit, queue="logQueue"):
    """All of it is acknowledged: closing the consumer brings nothing back."""
    return rabbit.depth(queue) == 0


def source_service(rabbit):
    """The old services' publisher: it declares the exchange and publishes without properties."""
    channel = rabbit.channel()
    channel.exchange_declare(exchange="logs_exchange", exchange_type="topic")
    return channel


def send(channel, body, key="ServiceA.Info", exchange="logs_exchange", **properties):
    channel.basic_publish(exchange, key, body, pika.BasicProperties(**properties) if properties else None)


def send_many(rabbit, n, exchange="logs_exchange", first=0, ids=False):
    """n numbered messages, confirmed by the broker."""
    with rabbit.connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for i in range(first, first + n):
            send(channel, f"2024-12-18 10:00:00 ServiceA Info number {i}", "ServiceA.Info", exchange,
                 delivery_mode=2, message_id=f"id-{i}" if ids else None)


def numbers(server):
    return [int(line.rsplit(" ", 1)[1]) for line in server.lines('{app="ServiceA"}')]


# -- what publishers send


def test_old_services_unmodified(nodes, rabbit):
    """Body, routing key and declarations of the old source service; queue and bindings of its collector."""
    server = start(nodes, rabbit)
    channel = source_service(rabbit)
    for service, severity in itertools.product("ABCD", ["Error", "Info", "Debug", "Warn"]):
        send(channel, f"2024-12-18 10:00:0{'ABCD'.index(service)} Service{service} {severity} "
             f"Something happened in Service{service}", f"Service{service}.{severity}")
    # A body without text discarded the message there (W-C5: IndexError, nack without requeue).
    send(channel, "2024-12-18 10:00:09 ServiceA Info ", "ServiceA.Info")
    lines_within(server, 17)
    found = server.entries('{input="amqp", app="ServiceB"}')
    assert [line for _, line, _ in found] == ["Something happened in ServiceB"] * 4
    assert {labels["severity"] for _, _, labels in found} == {"Error", "Info", "Debug", "Warn"}
    assert {labels["detected_level"] for _, _, labels in found} == {"error", "info", "debug", "warn"}
    assert {labels["routing_key"] for _, _, labels in found} == {
        f"ServiceB.{s}" for s in ["Error", "Info", "Debug", "Warn"]}
    assert {labels["exchange"] for _, _, labels in found} == {"logs_exchange"}
    assert all("redelivered" not in labels for _, _, labels in found)
    assert len(found[0][2]) and found[0][2]["service_name"] == "ServiceB"
    assert len({ns for ns, _, _ in found}) == 1
    wait_for("all is acknowledged", lambda: empty(rabbit))
    server.stop()
    assert rabbit.depth("logQueue") == 0


def test_properties_and_headers(nodes, rabbit):
    server = start(nodes, rabbit, labels={"env": "test"})
    channel = source_service(rabbit)
    send(channel, "disk full", "billing.Error", message_id="m-1", correlation_id="c-1", app_id="payments",
         user_id="test", type="event", timestamp=1700000000, content_type="text/plain",
         headers={"x-request-id": "r 1", "retries": 3, "ok": True, "ratio": decimal.Decimal("-0.25"), "none": None, "nested": {"a": 1}})
    send(channel, "no app-id", "orders.Warn")
    send(channel, "no level in the key", "a.b.c")
    send(channel, b"\xff\x00 bytes", "raw")
    lines_within(server, 4)
    (ns, line, labels), = server.entries('{app="payments"}')
    assert (line, labels["env"], labels["input"]) == ("disk full", "test", "amqp")
    assert ns == 1700000000 * 10**9
    assert {k: v for k, v in labels.items() if k.startswith("header_")} == {
        "header_x_request_id": "r 1", "header_retries": "3", "header_ok": "true", "header_ratio": "-0.25"}
    assert (labels["message_id"], labels["correlation_id"], labels["user_id"], labels["type"]) == (
        "m-1", "c-1", "test", "event")
    assert (labels["severity"], labels["detected_level"]) == ("Error", "error")
    (_, _, labels), = server.entries('{app="orders"}')
    assert (labels["severity"], labels["detected_level"]) == ("Warn", "warn")
    assert set(server.lines('{app="logQueue"}')) == {"\ufffd\0 bytes", "no level in the key"}


def test_json_and_pushes(nodes, rabbit):
    """Other forms of bodies, by content type and by looks; several records in one message."""
    server = start(nodes, rabbit)
    channel = source_service(rabbit)
    send(channel, json.dumps({"level": "error", "message": "from json", "service": "api", "user": 7}),
         "x.y", content_type="application/json", message_id="j-1")
    push = {"streams": [{"stream": {"job": "pushed"}, "values": [[str(time.time_ns() + i), f"line {i}"]
                                                                   for i in range(3)]}]}
    send(channel, json.dumps(push), "x.y", content_type="application/json")
    lines_within(server, 4)
    (_, line, labels), = server.entries('{app="api"}')
    assert "from json" in line and labels["detected_level"] == "error" and labels["message_id"] == "j-1"
    assert server.lines('{job="pushed"}') == ["line 0", "line 1", "line 2"]
    wait_for("all is acknowledged", lambda: empty(rabbit))


def test_long_messages(nodes, rabbit):
    """Bodies of many frames, and one beyond the limit."""
    server = start(nodes, rabbit, max_line="1KiB")
    channel = source_service(rabbit)
    send(channel, "", "empty")
    send(channel, "x" * 300000, "long.Info", headers={"h": "v"})
    send(channel, b"y" * (17 << 20), "huge.Info")
    send(channel, "after", "after")
    lines_within(server, 4)
    (_, line, labels), = server.entries('{app="long"}')
    assert (line, labels["truncated_from"], labels["header_h"]) == ("x" * 1024, "300000", "v")
    (_, line, labels), = server.entries('{quarantine="true"}')
    assert len(line) == 16 << 20 and labels["truncated_from"] == str(17 << 20), labels["reason"]
    assert "beginning is kept" in labels["reason"]
    wait_for("all is acknowledged", lambda: empty(rabbit))


# -- acknowledgements


def test_durable_before_the_acknowledgement(nodes, rabbit):
    """kill -9 in mid-flow: every message is there, and with ids each of them once (W-C5: a failed insert was lost)."""
    server = start(nodes, rabbit, prefetch=500)
    total = LOAD // 4
    sender = threading.Thread(target=send_many, args=(rabbit, total), kwargs={"ids": True}, daemon=True)
    sender.start()
    for part in (5, 3, 2):
        wait_for("some are stored", lambda: count(server) > total // part - total // 6, 120)
        server.kill()
        server.start()
    sender.join(120)
    wait_for("the queue is empty", lambda: empty(rabbit), 120)
    server.stop()
    server.start()
    assert sorted(numbers(server)) == list(range(total))
    assert rabbit.depth("logQueue") == 0


def test_stop_delivers_nothing_twice(nodes, rabbit):
    """A stop in order takes what was sent to it and acknowledges it: without ids too nothing is there twice."""
    server = start(nodes, rabbit, prefetch=100)
    total = LOAD // 4
    sender = threading.Thread(target=send_many, args=(rabbit, total), daemon=True)
    sender.start()
    for _ in range(3):
        before = count(server)
        wait_for("more are stored", lambda: count(server) > before + 50 or not sender.is_alive(), 120)
        assert server.stop() == 0
        server.start()
    sender.join(120)
    wait_for("all are stored", lambda: count(server) >= total, 120)
    assert sorted(numbers(server)) == list(range(total))
    assert server.metric("sawlog_amqp_redelivered_total") == 0


def test_reload_with_other_settings(nodes, rabbit):
    server = start(nodes, rabbit)
    sender = threading.Thread(target=send_many, args=(rabbit, LOAD // 10), daemon=True)
    sender.start()
    for i in range(3):
        server.config.write_text(config(rabbit.url, labels={"turn": str(i)}))
        server.child.send_signal(signal.SIGHUP)
        consuming(server, i + 2)
    sender.join(120)
    wait_for("all are stored", lambda: count(server) >= LOAD // 10, 120)
    assert sorted(numbers(server)) == list(range(LOAD // 10))


def test_automatic_acknowledgement(nodes, rabbit):
    server = start(nodes, rabbit, ack="auto")
    send_many(rabbit, 1000)
    lines_within(server, 1000)
    assert "before they are stored (ack: auto)" in server.err
    server.stop()
    assert rabbit.depth("logQueue") == 0


# -- duplicates


def test_resent_messages_are_stored_once(nodes, rabbit):
    """A publisher that sends again as no confirm came: the id and all of the content are the same."""
    server = start(nodes, rabbit)
    channel = source_service(rabbit)
    for body, key, message_id in [
            ("one", "a.Info", "1"), ("one", "a.Info", "1"),  # the same
            ("two", "a.Info", "1"),  # another text under the same id is no duplicate
            ("one", "b.Info", "1"),  # nor is another routing key
            ("one", "a.Info", "2"), ("one", "a.Info", None), ("one", "a.Info", None)]:
        send(channel, body, key, message_id=message_id)
    lines_within(server, 6)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    assert server.metric("sawlog_amqp_duplicates_total") == 1
    # The window outlives the process, killed or not.
    for lives, end in enumerate((server.kill, server.stop), 2):
        end()
        consuming(server.start(), lives)
        send(channel, "two", "a.Info", message_id="1")
        send(channel, f"new after {end.__name__}", "a.Info", message_id=end.__name__)
        wait_for("the new one", lambda: f"new after {end.__name__}" in server.lines('{app="a"}'))
    assert count(server) == 8


def test_known_by_a_header(nodes, rabbit):
    server = start(nodes, rabbit, dedupe={"by": "header:event", "window": 100})
    channel = source_service(rabbit)
    for event in ("1", "2", "1"):
        send(channel, "line", "a.Info", headers={"event": event}, message_id="all the same")
    send(channel, "last", "a.Info")
    lines_within(server, 3)
    wait_for("the last", lambda: "last" in server.lines('{app="a"}'))
    assert count(server) == 3 and server.metric("sawlog_amqp_duplicates_total") == 1
    assert {e[2].get("message_id") for e in server.entries('{app="a"} |= "line"')} == {"1", "2"}


def test_window_off(nodes, rabbit):
    server = start(nodes, rabbit, dedupe={"by": "off"})
    channel = source_service(rabbit)
    for _ in range(3):
        send(channel, "line", "a.Info", message_id="1")
    lines_within(server, 3)


# -- messages that cannot be decoded


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_quarantine(nodes, rabbit, queue_type):
    """Given back twice, then stored as it came and acknowledged: not lost, and no loop (W-C5: nack without requeue)."""
    server = start(nodes, rabbit, format="json", queue_type=queue_type, prefetch=10)
    channel = source_service(rabbit)
    send(channel, '{"message": "good", "service": "a"}', "a.Info")
    send(channel, "not { json", "a.Info", message_id="bad")
    send(channel, '{"message": "good too", "service": "a"}', "a.Info")
    lines_within(server, 3)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    (_, line, labels), = server.entries('{quarantine="true"}')
    assert (line, labels["app"], labels["input"], labels["message_id"], labels["redelivered"]) == (
        "not { json", "logQueue", "amqp", "bad", "true")
    assert labels["reason"]
    assert server.metric("sawlog_amqp_returned_total") == 2
    assert server.metric("sawlog_amqp_quarantined_total") == 1
    assert "in quarantine" in server.err
    # With other messages around: still each once.
    for i in range(100):
        send(channel, f"{i} is not json either" if i % 10 == 0 else json.dumps({"message": str(i), "service": "b"}))
    lines_within(server, 103)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    assert count(server, '{quarantine="true"}') == 11 and count(server, '{app="b"}') == 90


def test_content_type_that_promises_what_it_is_not(nodes, rabbit):
    server = start(nodes, rabbit, tries=1)
    channel = source_service(rabbit)
    send(channel, "{ no json", "a.Info", content_type="application/json")
    send(channel, "no gzip", "a.Info", content_encoding="gzip")
    lines_within(server, 2, '{quarantine="true"}')
    assert server.metric("sawlog_amqp_returned_total") == 0
    wait_for("all is acknowledged", lambda: empty(rabbit))


# -- brokers in trouble


def test_broker_comes_late(nodes, rabbit):
    """W-C7: the server starts and says what is wrong; later it consumes."""
    port = free_port()
    server = start(nodes, rabbit, url=f"amqp://test:secret@127.0.0.1:{port}/{rabbit.name}", wait=False)
    wait_for("it says so", lambda: f"127.0.0.1:{port}/{rabbit.name}: connection refused" in server.err)
    assert server.metric("sawlog_amqp_connected") == 0
    with forwarded(port, rabbit.port):
        consuming(server)
        send(source_service(rabbit), "here")
        lines_within(server, 1)
        assert server.metric("sawlog_amqp_connected") == 1
    wait_for("it is told as gone", lambda: server.metric("sawlog_amqp_connected") == 0)


@contextlib.contextmanager
def forwarded(port, to):
    """What connects to `port` gets to `to`."""
    listener = socket.create_server(("127.0.0.1", port))
    pairs = []

    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for s in (source, target):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                one, other = listener.accept()[0], socket.create_connection(("127.0.0.1", to))
                pairs.append((one, other))
                for ends in ((one, other), (other, one)):
                    threading.Thread(target=copy, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for s in itertools.chain(*pairs):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


def test_broker_restarts(nodes, rabbit):
    """W-C3: the exchange is not durable, as the old services' is not: it is made anew."""
    server = start(nodes, rabbit)
    send_many(rabbit, 50, ids=True)
    rabbit.broker.restart()
    consuming(server, 2)
    send_many(rabbit, 50, first=50, ids=True)
    lines_within(server, 100)
    assert sorted(numbers(server)) == list(range(100))
    assert re.search(r"connection (lost|ended by the broker)", server.err), server.err


def test_connections_are_closed(nodes, rabbit):
    """With messages in flight: with ids none is lost and none is there twice."""
    server = start(nodes, rabbit, prefetch=200)
    sender = threading.Thread(target=send_slowly, args=(rabbit, LOAD // 10), daemon=True)
    sender.start()
    for i in range(5):
        before = count(server)
        wait_for("some come", lambda: count(server) > before + 20 or not sender.is_alive(), 60)
        rabbit.close_connections()
        consuming(server, i + 2)
    sender.join(120)
    assert not sender.is_alive()
    wait_for("all are stored", lambda: count(server) >= LOAD // 10, 120)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    assert sorted(numbers(server)) == list(range(LOAD // 10))
    assert "320 CONNECTION_FORCED" in server.err and "closed by a test" in server.err


def send_slowly(rabbit, n):
    """Again and again under the same ids, as its own connection is closed as well."""
    done = 0
    while done < n:
        with contextlib.suppress(pika.exceptions.AMQPError):
            with rabbit.connect() as connection:
                channel = connection.channel()
                channel.exchange_declare("logs_exchange", "topic")
                channel.confirm_delivery()
                while done < n:
                    send(channel, f"2024-12-18 10:00:00 ServiceA Info number {done}", message_id=f"id-{done}")
                    done += 1


def test_without_ids_duplicates_are_said(nodes, rabbit):
    """What was delivered before and has no id may be there twice: it is counted, and marked."""
    start_consumer = rabbit.connect()
    channel = start_consumer.channel()
    channel.exchange_declare("logs_exchange", "topic")
    channel.queue_declare("logQueue", durable=True)
    channel.queue_bind("logQueue", "logs_exchange", "#")
    for i in range(10):
        send(channel, f"line {i}", "a.Info", message_id=f"{i}" if i < 4 else None)
    wait_for("they are there", lambda: rabbit.depth("logQueue") == 10)
    for _ in range(10):
        channel.basic_get("logQueue")  # and never acknowledged
    start_consumer.close()
    server = start(nodes, rabbit)
    lines_within(server, 10)
    assert server.metric("sawlog_amqp_redelivered_total", id="yes") == 4
    assert server.metric("sawlog_amqp_redelivered_total", id="no") == 6
    assert {e[2]["redelivered"] for e in server.entries('{app="a"}')} == {"true"}


def test_channel_closed_by_the_broker(nodes, rabbit):
    """For a method that the broker takes for a mistake of ours: an acknowledgement of what was not delivered."""
    server = start(nodes, rabbit)
    found = rabbit.broker.call(
        "[rabbit_channel:do(C, {'basic.ack', 999999, false}) || C <- rabbit_channel:list(), "
        f"rabbit_misc:pget(vhost, rabbit_channel:info(C, [vhost])) =:= <<\"{rabbit.name}\">>].")
    assert "ok" in found
    consuming(server, 2)
    assert "406 PRECONDITION_FAILED - unknown delivery tag 999999" in server.err
    send(source_service(rabbit), "after it")
    lines_within(server, 1)


def test_memory_alarm(nodes, rabbit):
    """Publishers are blocked; what lies in the queue still comes, and is acknowledged."""
    server = nodes.server(config=config(rabbit.url), start=False)
    with rabbit.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare("logs_exchange", "topic")
        channel.queue_declare("logQueue", durable=True)
        channel.queue_bind("logQueue", "logs_exchange", "#")
        for i in range(100):
            send(channel, f"line {i}", "a.Info")
        wait_for("they are there", lambda: rabbit.depth("logQueue") == 100)
    with rabbit.broker.memory_alarm():
        server.start()
        lines_within(server, 100)
    wait_for("all is acknowledged", lambda: empty(rabbit))
    send(source_service(rabbit), "after it", "a.Info")
    lines_within(server, 101)


def test_queue_is_deleted(nodes, rabbit):
    server = start(nodes, rabbit)
    rabbit.channel().queue_delete("logQueue")
    consuming(server, 2)
    assert "the queue was deleted" in server.err
    send(source_service(rabbit), "into the new one")
    lines_within(server, 1)


def test_silent_broker(nodes, rabbit):
    """A broker that hangs: heartbeats are missed, and it is tried again."""
    server = start(nodes, rabbit, heartbeat="1s")
    rabbit.broker.pause()
    try:
        wait_for("it is told as gone", lambda: server.metric("sawlog_amqp_connected") == 0, 30)
        # A stop is in time though the broker says nothing.
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 10
    finally:
        rabbit.broker.resume()
    assert "nothing heard from the broker" in server.err or "connection lost" in server.err
    consuming(server.start(), 2)
    send(source_service(rabbit), "here again")
    lines_within(server, 1)


@pytest.mark.parametrize("user, password, vhost, said", [
    ("test", "wrong", None, "check user and password"),
    ("nobody", "secret", None, "check user and password"),
    ("test", "secret", "nowhere", "make the vhost"),
])
def test_refused_logins(nodes, rabbit, user, password, vhost, said):
    """W-C10: it says why, and does not say the password anywhere."""
    url = f"amqp://{user}:{password}@127.0.0.1:{rabbit.port}/{vhost or rabbit.name}"
    server = start(nodes, rabbit, url=url, wait=False)
    wait_for("it says so", lambda: said in server.err)
    assert password == "secret" or password not in server.err
    shown = server.get("/config").text
    assert f":{password}@" not in shown and f":{password}@" not in server.err and "amqp" in shown
    if vhost:
        rabbit.broker.add_vhost(vhost)
        try:
            consuming(server)
        finally:
            server.stop()
            rabbit.broker.delete_vhost(vhost)


def test_mismatched_declarations(nodes, rabbit):
    """What is there in another form is used as it is, and told."""
    channel = rabbit.channel()
    channel.exchange_declare("logs_exchange", "topic", durable=True)
    channel.queue_declare("logQueue", durable=True, arguments={"x-max-length": 1000})
    server = start(nodes, rabbit)
    assert "inequivalent arg 'durable' for exchange 'logs_exchange'" in server.err
    assert "inequivalent arg 'x-max-length' for queue 'logQueue'" in server.err
    send(rabbit.channel(), "all the same")
    lines_within(server, 1)


def test_declare_check_and_never(nodes, rabbit):
    server = start(nodes, rabbit, declare="check", wait=False)
    wait_for("it says so", lambda: "404 NOT_FOUND" in server.err)
    assert rabbit.depth("logQueue") is None
    channel = source_service(rabbit)
    channel.queue_declare("logQueue", durable=True)
    consuming(server)
    # Bindings are somebody else's then.
    send(channel, "unbound")
    channel.queue_bind("logQueue", "logs_exchange", "#")
    send(channel, "bound")
    assert lines_within(server, 1) == ["bound"]
    server.stop()
    server.config.write_text(config(rabbit.url, declare="never", exchange="", queue="logQueue"))
    server.start()
    consuming(server, 2)
    send(channel, "by its name", "logQueue", exchange="")
    assert "by its name" in lines_within(server, 2)


def test_queue_types_and_names(nodes, rabbit):
    consuming(another(nodes, "quorum", rabbit.url, queue="q", queue_type="quorum", arguments={"x-max-length": 99}))
    rabbit.channel().queue_declare("q", durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 99})
    # One without a name: a monitor's, which goes with it.
    server = consuming(another(nodes, "own", rabbit.url, queue="", bind=["*.Error", "*.Warn"]))
    channel = source_service(rabbit)
    for severity in ("Error", "Info", "Warn"):
        send(channel, f"2024-12-18 10:00:00 ServiceA {severity} {severity}", f"ServiceA.{severity}")
    assert sorted(lines_within(server, 2)) == ["Error", "Warn"]


def test_exclusive_consumer(nodes, rabbit):
    first = start(nodes, rabbit, exclusive=True, consumer_tag="the-one")
    second = another(nodes, "second", rabbit.url)
    wait_for("it says so", lambda: "403 ACCESS_REFUSED" in second.err and "exclusive" in second.err)
    first.stop()
    consuming(second)


def test_tls(nodes, rabbit):
    url = rabbit.tls_url.replace("127.0.0.1", "localhost")
    server = start(nodes, rabbit, url=url, tls={"ca": str(rabbit.ca)})
    send_many(rabbit, LOAD // 20)
    lines_within(server, LOAD // 20)
    assert sorted(numbers(server)) == list(range(LOAD // 20))
    unknown = another(nodes, "unknown", url)
    wait_for("it says so", lambda: "its certificate is not to be trusted unless its CA is named" in unknown.err)


# -- load


def test_several_collectors(nodes, rabbit):
    """Three on one queue: each message is in one of them; one is killed, another is stopped."""
    servers = [another(nodes, f"s{i}", rabbit.url, prefetch=100) for i in range(3)]
    for server in servers:
        consuming(server)
    total = LOAD // 5
    sender = threading.Thread(target=send_many, args=(rabbit, total), kwargs={"ids": True}, daemon=True)
    sender.start()
    wait_for("each has some", lambda: all(count(s) > 50 for s in servers), 60)
    servers[0].kill()
    servers[1].stop()
    sender.join(120)
    for server in servers[:2]:
        server.start()
    wait_for("the queue is empty", lambda: empty(rabbit), 120)
    for server in servers:
        server.stop()
        server.start()
    assert set(itertools.chain(*map(numbers, servers))) == set(range(total))
    assert all(len(found) == len(set(found)) for found in map(numbers, servers))


def test_little_memory(nodes, rabbit):
    """Large messages and a low ceiling: the broker waits, nothing is lost."""
    server = nodes.server(config="memory: 32MiB\n" + config(rabbit.url))
    consuming(server)
    channel = source_service(rabbit)
    channel.confirm_delivery()
    n = 100 if SANITIZED else 400
    for i in range(n):
        send(channel, f"{i:06} " + "x" * 200000, "big.Info", message_id=str(i))
    wait_for("all are stored", lambda: count(server) >= n, 120)
    found = server.get("/loki/api/v1/query", {"query": 'sum by (message_id) (count_over_time({app="big"}[10y]))'})
    found = {int(r["metric"]["message_id"]): int(r["value"][1]) for r in found.json()["data"]["result"]}
    assert found == {i: 1 for i in range(n)}
    if not SANITIZED:
        assert server.rss_anon() < 60 << 20


def test_dump_tells(nodes, rabbit):
    server = start(nodes, rabbit)
    send_many(rabbit, 20, ids=True)
    lines_within(server, 20)
    server.child.send_signal(signal.SIGUSR1)
    wait_for("the dump", lambda: "knows the last 20 messages" in server.out)
    assert 'amqp: queue "logQueue": 0 runs' in server.out
    assert "20 messages, 0 of them delivered before" in server.out


# -- settings


@pytest.mark.parametrize("options, said", [
    ({"queue_type": "quorum", "queue_durable": False}, "quorum queues are always durable"),
    ({"queue": "", "declare": "check"}, "needs declare: create"),
    ({"dedupe": {"by": "body"}}, "must be message-id, header:NAME"),
    ({"arguments": {"x-delivery-limit": 1}}, "set tries to 2 or less"),
    ({"tls": {"insecure": True}}, "is for amqps://"),
    ({"labels": {"a-b": "c"}}, "is not a label"),
    ({"timezone": "Mars"}, "timezone"),
    ({"prefetch": 70000}, "prefetch"),
    ({"url": "http://127.0.0.1/"}, "amqp://"),
])
def test_bad_settings(nodes, options, said):
    path = nodes.folder / "bad.yaml"
    path.write_text(config(options.pop("url", "amqp://127.0.0.1"), **options))
    done = sawlog.run("check", path)
    text = (done.stdout + done.stderr).decode()
    assert done.returncode != 0 and said in text and "bad.yaml:" in text, text


def test_example(nodes, rabbit):
    text = (sawlog.ROOT / "examples/amqp.yaml").read_text()
    server = consuming(nodes.server(config=text, env={"RABBITMQ_URI": rabbit.url}))
    send(source_service(rabbit), "from the example", "a.Info")
    lines_within(server, 1, '{site="here"}')
