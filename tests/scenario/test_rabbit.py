# SPDX-License-Identifier: Apache-2.0
"""The real broker that other tests stand on: it starts, breaks and comes back as they need it."""
import pytest
from rabbit import pika
from sawlog import wait_for


def test_vhost(rabbit):
    with rabbit.connect() as c:
        ch = c.channel()
        ch.queue_declare("q", durable=True)
        ch.confirm_delivery()
        ch.basic_publish("", "q", b"hello", pika.BasicProperties(delivery_mode=2))
    assert rabbit.depth("q") == 1
    assert rabbit.consumers("q") == 0
    assert rabbit.depth("none") is None
    rabbit.broker.restart()
    assert rabbit.depth("q") == 1
    rabbit.broker.kill()
    rabbit.broker.start()
    assert rabbit.depth("q") == 1


def test_vhosts_are_apart(rabbit):
    assert rabbit.depth("q") is None
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(rabbit.url_as("nobody", "wrong")))


def test_breaks(rabbit):
    c = rabbit.connect()
    rabbit.close_connections()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
        c.process_data_events(20)
    blocked = []
    c = rabbit.connect()
    c.add_on_connection_blocked_callback(lambda *_: blocked.append(1))
    with rabbit.broker.memory_alarm():
        c.channel().basic_publish("", "q", b"x")
        wait_for("the connection is blocked", lambda: c.process_data_events(0.1) or blocked)
    c.close()
    rabbit.broker.pause()
