# SPDX-License-Identifier: Apache-2.0
"""Kills -9 of collectors that share a queue, and of the broker's nodes, under load, and the audit after it.

Publishers in pika send numbered messages with ids, persistent and mandatory, and keep a ledger of what the broker
confirmed.  What was not confirmed is never sent again: it is in the stores once or not at all.  In the end each
confirmed message is in some collector's store, and any collector answers with each of them once, although the broker
delivered many of them twice.
"""
import contextlib
import random
import signal
import subprocess
import threading
import time

import sawlog
from rabbit import pika

EXCHANGE, QUEUE = "logs_exchange", "sawlog"
SEVERITIES = ("Error", "Info", "Debug", "Warn")


class Publisher(threading.Thread):
    """One connection to any node that takes it, a confirm for each message."""

    def __init__(self, who, group, vhost, seed):
        super().__init__(daemon=True)
        self.who, self.group, self.vhost, self.random = who, group, vhost, random.Random(seed)
        self.confirmed, self.sent, self.in_flight, self.end = [], set(), False, False
        self.refused = 0

    def connect(self):
        node = self.random.choice([n for n in self.group.nodes if n.running])
        c = node.connect(self.vhost, connection_attempts=1, socket_timeout=5, stack_timeout=5,
                         blocked_connection_timeout=20)
        channel = c.channel()
        channel.confirm_delivery()
        channel.exchange_declare(EXCHANGE, "topic")
        return c, channel

    def publish(self, channel, n):
        severity = self.random.choice(SEVERITIES)
        text = f"{self.who} message {n} {self.random.random()}"
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        self.sent.add(text)
        self.in_flight = True
        channel.basic_publish(EXCHANGE, f"{self.who}.{severity}", f"{now} {self.who} {severity} {text}",
                              pika.BasicProperties(delivery_mode=2, message_id=f"{self.who}-{n}"), mandatory=True)
        self.confirmed.append(text)

    def run(self):
        n, connection = 0, None
        while not self.end:
            try:
                if connection is None:
                    connection, channel = self.connect()
                n += 1
                self.publish(channel, n)
                if self.random.random() < 0.01:
                    time.sleep(self.random.random() * 0.05)
            except (pika.exceptions.UnroutableError, pika.exceptions.NackError):
                # No binding on a node that only comes up, or no majority: the publisher knows.
                self.refused += 1
                time.sleep(0.02)
            except (pika.exceptions.AMQPError, OSError, IndexError):
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection.close()
                connection = None
                time.sleep(0.05)
            finally:
                self.in_flight = False
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def config(url, peers, more):
    return f"""
memory: 64MiB
{f"peers: [{', '.join(peers)}]" if len(peers) > 1 else ""}
inputs:
  - amqp: {{url: "{url}", exchange: {EXCHANGE}, queue: {QUEUE}, queue_type: quorum, format: text}}
{more}"""


def collectors(nodes, group, vhost, count, binary, more=""):
    """Each connects to a node of its own, by turns."""
    made = [sawlog.Server(nodes.folder / f"c{i}", name=f"collector-{i}", binary=binary) for i in range(count)]
    nodes.made.extend(made)
    peers = [s.url for s in made]
    for i, s in enumerate(made):
        s.config = s.folder / "sawlog.yaml"
        s.config.write_text(config(group.nodes[i % len(group.nodes)].url(vhost), peers, more))
    for s in made:
        s.start()
    return made


class Nodes:
    """For a test's own `nodes`, which cannot take servers that it did not make."""

    def __init__(self, folder):
        self.folder, self.made = folder, []

    def close(self):
        for s in self.made:
            s.close()


def campaign(folder, group, vhost, seed, kills, broker_kills, count=3, mutant=False):
    """Kill collectors and nodes of the broker in any order, then audit.  Returns what was counted.
    With `mutant` the collectors are builds that acknowledge what they have not committed."""
    nodes = Nodes(folder)
    try:
        return run(nodes, group, vhost, seed, kills, broker_kills, count, mutant)
    finally:
        nodes.close()


def run(nodes, group, vhost, seed, kills, broker_kills, count, mutant):
    rng = random.Random(seed)
    print(f"seed {seed}", flush=True)
    made = collectors(nodes, group, vhost, count, sawlog.SAWLOG + "-mutant-amqp" * mutant)
    node = group.nodes[0]
    sawlog.wait_for("all collectors consume", lambda: (node.queue(QUEUE, vhost) or (0, 0))[1] == count, 60)
    publishers = [Publisher(f"Service{chr(65 + i)}", group, vhost, seed + 1 + i) for i in range(4)]
    for p in publishers:
        p.start()
    left = {"collector": kills, "broker": broker_kills}
    back = None  # the thread that brings a node back
    while any(left.values()):
        time.sleep(rng.uniform(0.05, 0.5))
        kinds = [k for k in left if left[k] and not (k == "broker" and back and back.is_alive())]
        if not kinds:
            time.sleep(0.1)
            continue
        # Collectors by far more often: a node needs seconds to come back.
        kind = rng.choices(kinds, [5 if k == "collector" and left["broker"] == 0 else 1 for k in kinds])[0]
        if kind == "broker":
            victim = rng.choice(group.nodes)
            victim.kill()
            # Off this thread, so that collectors are killed meanwhile; a majority of three stays.
            back = threading.Thread(target=victim.start, daemon=True)
            back.start()
        else:
            before = sum(len(p.confirmed) for p in publishers)
            # Strike while something flows, if it does: with a single node it may be gone.
            with contextlib.suppress(AssertionError):
                sawlog.wait_for("messages flow", lambda: sum(len(p.confirmed) for p in publishers) > before + 20,
                                2)
            victim = rng.choice(made)
            victim.kill(signal.SIGKILL)
            if rng.random() < 0.3:
                time.sleep(rng.uniform(0, 0.3))
            victim.start()
        left[kind] -= 1
    if back:
        back.join(240)
    for n in group.nodes:
        n.wait()
    time.sleep(0.5)
    for p in publishers:
        p.end = True
    for p in publishers:
        p.join(60)
        assert not p.is_alive(), "a publisher hangs"
    return audit(group, vhost, made, publishers) | {"collectors": kills, "brokers": broker_kills}


def drained(group, vhost, made):
    """Nothing is ready in the queue and nothing unacknowledged."""
    for n in group.nodes:
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            counts = n.call(f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{QUEUE}">>)), '
                            'proplists:get_value(messages, rabbit_amqqueue:info(Q, [messages])).')
            return counts == "0"
    return False


def audit(group, vhost, made, publishers):
    sawlog.wait_for("the queue is empty", lambda: drained(group, vhost, made), 120)
    local = [s.metric("sawlog_committed_records_total") for s in made]
    sent = set().union(*(p.sent for p in publishers))
    confirmed = set().union(*(p.confirmed for p in publishers))
    answers = []
    for s in made:
        got = s.lines('{input="amqp"}')
        missing = confirmed - set(got)
        assert not missing, f"{s.name}: {len(missing)} confirmed messages are lost: {sorted(missing)[:3]}"
        strange = set(got) - sent
        assert not strange, f"{s.name}: lines nobody sent: {sorted(strange)[:3]}"
        twice = len(got) - len(set(got))
        assert not twice, f"{s.name}: {twice} messages are told twice"
        answers.append(sorted(got))
    assert all(a == answers[0] for a in answers), "collectors answer differently"
    total = made[0].get("/loki/api/v1/query", {"query": 'sum(count_over_time({input="amqp"}[1h]))'}).json()
    (value,) = total["data"]["result"]
    assert int(value["value"][1]) == len(answers[0]), (value, len(answers[0]))
    return {"confirmed": len(confirmed), "stored": len(answers[0]), "committed since the last starts": int(sum(local))}
