#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Publishes a few log messages: zeromq_publisher.py NAME [PORT [COUNT]].

With a port it binds there and waits for a subscriber; without (or 0) it connects to the server's
port 5550.  Each message carries its number, so that the server can tell what is missing.
"""
import itertools
import logging
import sys

import zmq
from zmq.log.handlers import PUBHandler

name = sys.argv[1] if len(sys.argv) > 1 else "worker"
port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
count = int(sys.argv[3]) if len(sys.argv) > 3 else 5

context = zmq.Context()
# XPUB is PUB that is told of subscriptions: what is sent before there is one is lost.
socket = context.socket(zmq.XPUB)
socket.sndhwm, socket.linger = 100_000, 5_000
if port:
    socket.bind(f"tcp://127.0.0.1:{port}")
else:
    socket.connect("tcp://127.0.0.1:5550")

numbers = itertools.count(1)


class Numbered(logging.Formatter):
    """The message, and behind it how many this publisher has sent."""

    def format(self, record):
        return f"{super().format(record)} (number {next(numbers)})\n"


handler = PUBHandler(socket, root_topic=name)
handler.setFormatter(Numbered("%(message)s"))
log = logging.getLogger(name)
log.setLevel(logging.DEBUG)
log.addHandler(handler)

if not socket.poll(30_000):
    sys.exit("nobody subscribed within 30 s")
for i in range(count):
    log.info("std::vector with %d items", i + 1)
log.error("the disk is nearly full")
context.destroy()
