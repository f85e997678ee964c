# SPDX-License-Identifier: Apache-2.0
"""The source service of kavvya97/log_aggregator as its messages show it, with nothing changed for sawlog: no
properties, no confirmation, and where no queue is bound yet, what it sends is lost.

Usage: source.py [COUNT [SECONDS BETWEEN]]      Environment: RABBITMQ_URI"""
import datetime
import os
import random
import sys
import time

import pika

EXCHANGE = "logs_exchange"
SERVICES = ["ServiceA", "ServiceB", "ServiceC", "ServiceD"]
SEVERITIES = {"Error": "the disk is full", "Info": "did its work", "Debug": "looks at its queue", "Warn": "is slow"}

count = int(sys.argv[1]) if len(sys.argv) > 1 else None
pause = float(sys.argv[2]) if len(sys.argv) > 2 else None
connection = pika.BlockingConnection(
    pika.URLParameters(os.environ.get("RABBITMQ_URI", "amqp://guest:guest@localhost:5672/")))
channel = connection.channel()
channel.exchange_declare(exchange=EXCHANGE, exchange_type="topic")
sent = 0
while count is None or sent < count:
    service, severity = random.choice(SERVICES), random.choice(list(SEVERITIES))
    now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    message = f"{now} {service} {severity} {SEVERITIES[severity]}"
    routing_key = f"{service}.{severity}"
    channel.basic_publish(exchange=EXCHANGE, routing_key=routing_key, body=message)
    print(f" [x] Sent '{message}' to '{routing_key}'", flush=True)
    sent += 1
    time.sleep(random.randint(1, 5) if pause is None else pause)
connection.close()
