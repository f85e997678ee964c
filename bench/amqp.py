# SPDX-License-Identifier: Apache-2.0
"""The amqp input: CPU for each message from the broker to the commit and its acknowledgement, and the same messages
into a consumer in pika that stores nothing: it acknowledges each as the old collector does, or has none to send."""
import os
import signal
import subprocess
import sys
import threading
import time

import rabbit
import sawlog
from rabbit import pika

# The old collector without its parsing and its database.
CONSUMER = r'''
import sys
import pika

url, queue, total, manual = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "manual"
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
channel.basic_qos(prefetch_count=1000)
seen = 0

def on_message(channel, method, properties, body):
    global seen
    seen += 1
    if manual:
        channel.basic_ack(method.delivery_tag)
    if seen == total:
        channel.stop_consuming()

print("ready", flush=True)
sys.stdin.readline()
channel.basic_consume(queue, on_message, auto_ack=not manual)
channel.start_consuming()
print("done", flush=True)
sys.stdin.readline()
'''

EXCHANGE = "logs_exchange"
SEVERITIES = ("Error", "Info", "Debug", "Warn")


def fill(broker, queue, n, ids):
    """n messages of the old system's form into a queue; with ids and persistent, or with no properties at all."""
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(EXCHANGE, "topic")
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, EXCHANGE, "#")
        for i in range(n):
            service, severity = f"Service{'ABCD'[i % 4]}", SEVERITIES[i // 4 % 4]
            body = f"2024-12-18 10:{i // 60 % 60:02}:{i % 60:02} {service} {severity} request {i} took {i * 7 % 1000} ms"
            channel.basic_publish(EXCHANGE, f"{service}.{severity}", body,
                                  pika.BasicProperties(message_id=f"id-{i}", delivery_mode=2) if ids else None)
        channel.queue_unbind(queue, EXCHANGE, "#")


def ours(folder, broker, queue, n, cpu):
    """(messages per CPU second, per second) until all are committed and acknowledged."""
    config = f'memory: 128MiB\ninputs:\n  - amqp: {{url: "{broker.url()}", exchange: {EXCHANGE}, queue: {queue}, format: text}}\n'
    # Its own start is not counted, nor are the messages that come meanwhile: they come in runs of the prefetch.
    server = sawlog.Server(folder, config=config, name=queue)
    server.data = folder / f"{queue}-data"
    start = time.monotonic()
    server.start()
    try:
        # Asked seldom: answers cost the server's CPU too.
        sawlog.wait_for("all messages", lambda: time.sleep(0.25) or server.metric("sawlog_committed_records_total") >= n,
                        300)
        sawlog.wait_for("the queue is empty", lambda: broker.call(
            f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)), '
            'proplists:get_value(messages, rabbit_amqqueue:info(Q, [messages])).') == "0", 60)
        wall = time.monotonic() - start
        return n / cpu(server.child.pid), n / wall
    finally:
        server.close()


def theirs(broker, queue, n, manual, cpu):
    child = subprocess.Popen([sys.executable, "-c", CONSUMER, broker.url(), queue, str(n), manual],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    watch = threading.Timer(300, child.kill)
    watch.start()
    try:
        assert child.stdout.readline() == "ready\n"
        used, start = cpu(child.pid), time.monotonic()
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "done\n"
        return n / (cpu(child.pid) - used), n / (time.monotonic() - start)
    finally:
        watch.cancel()
        child.send_signal(signal.SIGKILL)
        child.wait(10)


def measure(folder, report, cpu, n=300_000, theirs_n=60_000):
    if rabbit.missing():
        print(f"amqp: {rabbit.missing()}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with rabbit.brokers(schedulers=f"{os.cpu_count()}:{os.cpu_count()}") as group:
        broker = group.nodes[0]
        rates = {}
        for name, ids in (("the old system's messages", False), ("persistent, with ids", True)):
            queue = f"ours-{ids}"
            fill(broker, queue, n, ids)
            rates[ids], wall = ours(folder, broker, queue, n, cpu)
            report.add(f"amqp: {name}, broker to commit and ack", rates[ids], "/CPU-s")
            report.add(f"  wall, {name}", wall, "/s")
        for name, manual in (("acknowledges each", "manual"), ("automatic acknowledgement", "auto")):
            fill(broker, f"theirs-{manual}", theirs_n, False)
            rate, _ = theirs(broker, f"theirs-{manual}", theirs_n, manual, cpu)
            report.add(f"amqp: pika that stores nothing, {name}", rate, "/CPU-s")
            report.add(f"amqp: ratio, {name}" + " (goal 20)" * (manual == "manual"), rates[False] / rate, "x")
