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
    """Sends some hundred messages a second over any node that takes them, up to WINDOW without a confirm."""

    WINDOW = 100
    TICK = 0.01
    BURST = 4  # at most in a tick
    # After a broker's restart a confirm may never come; then the connection is given up, as a client in earnest does.
    STUCK = 8.0

    def __init__(self, who, group, vhost, seed):
        super().__init__(daemon=True)
        self.who, self.group, self.vhost, self.random = who, group, vhost, random.Random(seed)
        self.confirmed, self.sent, self.n, self.refused, self.end = [], set(), 0, 0, False

    def run(self):
        while not self.end:
            up = [n for n in self.group.nodes if n.running]
            if up:
                Session(self, self.random.choice(up)).run()
            time.sleep(0.05)

    def message(self):
        self.n += 1
        text = f"{self.who} message {self.n} {self.random.random()}"
        self.sent.add(text)
        return text


class Session:
    """One connection of a publisher."""

    def __init__(self, publisher, node):
        self.publisher = publisher
        self.pending, self.returned, self.tag, self.closing = {}, set(), 0, None
        self.connection = pika.SelectConnection(
            node.parameters(publisher.vhost, connection_attempts=1, socket_timeout=5, stack_timeout=5),
            on_open_callback=lambda c: c.channel(on_open_callback=self.on_channel),
            on_open_error_callback=self.stop, on_close_callback=self.stop)
        self.loop = self.connection.ioloop

    def run(self):
        self.loop.call_later(self.publisher.TICK, self.tick)
        self.loop.start()
        self.loop.close()

    def stop(self, *_):
        self.loop.stop()

    def on_channel(self, channel):
        self.channel = channel
        channel.add_on_return_callback(lambda _, method, properties, body: self.returned.add(properties.message_id))
        channel.exchange_declare(EXCHANGE, "topic", callback=lambda _: channel.confirm_delivery(
            self.on_confirm, callback=lambda _: self.send()))

    def tick(self):
        now = time.monotonic()
        oldest = next(iter(self.pending.values()))[0] if self.pending else now
        if self.closing and now > self.closing:
            self.stop()
        elif not self.closing and (now - oldest > self.publisher.STUCK or self.publisher.end and not self.pending):
            self.closing = now + 2
            if self.connection.is_open:
                self.connection.close()
            else:
                self.stop()
        self.loop.call_later(self.publisher.TICK, self.tick)

    def send(self):
        p = self.publisher
        if self.closing or not self.channel.is_open:
            return
        for _ in range(p.random.randint(0, p.BURST)):
            if p.end or len(self.pending) >= p.WINDOW:
                break
            text, severity = p.message(), p.random.choice(SEVERITIES)
            self.tag += 1
            self.pending[self.tag] = (time.monotonic(), text, f"{p.who}-{p.n}")
            self.channel.basic_publish(
                EXCHANGE, f"{p.who}.{severity}", time.strftime(f"%Y-%m-%d %H:%M:%S {p.who} {severity} {text}"),
                pika.BasicProperties(delivery_mode=2, message_id=f"{p.who}-{p.n}"), mandatory=True)
        self.loop.call_later(p.TICK, self.send)

    def on_confirm(self, frame):
        method = frame.method
        tags = [t for t in self.pending if t <= method.delivery_tag] if method.multiple else [method.delivery_tag]
        for tag in tags:
            _, text, name = self.pending.pop(tag)
            # What is routed nowhere comes back before its confirm: the publisher knows.
            if isinstance(method, pika.spec.Basic.Ack) and name not in self.returned:
                self.publisher.confirmed.append(text)
            else:
                self.publisher.refused += 1


def config(url, peers, queue_type, more):
    return f"""
memory: 256MiB
{f"peers: [{', '.join(peers)}]" if len(peers) > 1 else ""}
inputs:
  - amqp: {{url: "{url}", exchange: {EXCHANGE}, queue: {QUEUE}, queue_type: {queue_type}, format: text}}
{more}"""


def collectors(nodes, group, vhost, count, binary, more=""):
    """Each connects to a node of its own, by turns.  RabbitMQ 3.10 finds no leader for a quorum queue whose only
    member was killed: a single node has a classic one."""
    queue_type = "quorum" if len(group.nodes) > 1 else "classic"
    made = [sawlog.Server(nodes.folder / f"c{i}", name=f"collector-{i}", binary=binary) for i in range(count)]
    nodes.made.extend(made)
    peers = [s.url for s in made]
    for i, s in enumerate(made):
        s.config = s.folder / "sawlog.yaml"
        s.config.write_text(config(group.nodes[i % len(group.nodes)].url(vhost), peers, queue_type,
                                   more))
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

    def flows(messages, seconds):
        """That many more are confirmed."""
        before = sum(len(p.confirmed) for p in publishers)
        sawlog.wait_for("messages flow", lambda: sum(len(p.confirmed) for p in publishers) >= before + messages,
                        seconds)

    left = {"collector": kills, "broker": broker_kills}
    back = None  # the thread that brings a node back
    while any(left.values()):
        away = back and back.is_alive()
        kinds = [k for k in left if left[k] and not (k == "broker" and away)]
        if not kinds or away and len(group.nodes) == 1:
            back.join()
            continue
        flows(rng.randint(20, 200), 120)
        # A node needs seconds to come back: collectors are killed meanwhile too.
        kind = rng.choice(kinds)
        left[kind] -= 1
        if kind == "broker":
            victim = rng.choice(group.nodes)
            victim.kill()
            back = threading.Thread(target=victim.start, daemon=True)
            back.start()
        else:
            victim = rng.choice(made)
            victim.kill(signal.SIGKILL)
            if rng.random() < 0.3:
                time.sleep(rng.uniform(0, 0.3))
            victim.start()
    if back:
        back.join()
    for n in group.nodes:
        n.wait()
    flows(200, 120)
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
