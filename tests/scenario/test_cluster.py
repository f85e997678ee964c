# SPDX-License-Identifier: Apache-2.0
"""Collectors that share a queue: kills -9 of them and of the broker lose nothing that was confirmed to a publisher,
and each message is told once (W-C3, W-C5, W-C6, W-C7).  Here with one broker; make fault has three."""
import os
import time

import cluster
import pytest
import sawlog


def seed():
    return int(os.environ.get("SEED", "0")) or int.from_bytes(os.urandom(4), "big")


def test_kills(nodes, rabbit):
    result = cluster.campaign(nodes.folder, rabbit.broker.group, rabbit.name, seed(), kills=8, broker_kills=1)
    print(result)
    assert result["confirmed"] > 500


@pytest.mark.skipif(sawlog.SANITIZED, reason="the control is a plain build")
def test_the_mutant_is_caught(nodes, rabbit, monkeypatch):
    """The positive control: collectors that acknowledge before the commit lose messages, and the audit says so."""
    monkeypatch.setattr(cluster.Publisher, "BURST", 20)
    with pytest.raises(AssertionError, match="confirmed messages are lost"):
        cluster.campaign(nodes.folder, rabbit.broker.group, rabbit.name, seed(), kills=20, broker_kills=0, mutant=True)


def test_alert_counts_over_collectors(nodes, rabbit):
    """Ten errors that three collectors share make one alert, though none of them has ten (W-C1, W-C11)."""
    own = cluster.Nodes(nodes.folder)
    try:
        made = cluster.collectors(own, rabbit.broker.group, rabbit.name, 3, sawlog.SAWLOG, """
alerts:
  interval: 1s
  ready:
    - errors: {match: '{input="amqp"}', threshold: 10, window: 60s}
""")
        sawlog.wait_for("all collectors consume", lambda: rabbit.consumers(cluster.QUEUE) == 3)

        def publish(n):
            # A message each time, so that the broker hands them round.
            with rabbit.connect() as connection:
                channel = connection.channel()
                for i in range(n):
                    channel.basic_publish(cluster.EXCHANGE, "ServiceA.Error",
                                          time.strftime(f"%Y-%m-%d %H:%M:%S ServiceA Error number {i}"))

        def counts():
            return [s.metric("sawlog_committed_records_total") for s in made]

        def firing(s):
            alerts = s.get("/prometheus/api/v1/alerts").json()["data"]["alerts"]
            return [a for a in alerts if a["state"] == "firing"]

        publish(9)
        sawlog.wait_for("nine are stored", lambda: len(made[0].lines('{input="amqp"}')) == 9)
        time.sleep(2.5)
        assert not firing(made[0]), "nine are not ten"
        publish(1)
        for s in made:
            sawlog.wait_for("the alert", lambda: firing(s))  # noqa: B023
        assert len(made[0].lines('{input="amqp"}')) == 10
        assert max(counts()) < 10
    finally:
        own.close()
