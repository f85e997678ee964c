# SPDX-License-Identifier: Apache-2.0
"""The amqp input against a real RabbitMQ: what publishers send, and what goes wrong with brokers."""
import contextlib
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
    """Seed C's publisher: it declares the exchange and publishes without properties."""
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


def test_seed_c_unmodified(nodes, rabbit):
    """Body, routing key and declarations of seed C's source; queue and bindings of its collector."""
    server = start(nodes, rabbit)
    channel = source_service(rabbit)
    for service, severity in itertools.product("ABCD", ["Error", "Info", "Debug", "Warn"]):
        send(channel, f"2024-12-18 10:00:0{'ABCD'.index(service)} Service{service} {severity} "
             f"Something happened in Service{service}", f"Service{service}.{severity}")
    # A body without text discarded the message there (W-C: IndexError, nack without requeue).
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
