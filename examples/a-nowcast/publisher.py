#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""publisher.py CONFIG NAME: a process of the kind that NEMO_Nowcast runs, as far as its logging goes.

It binds the first free port of its entry in zmq.ports.logging (`workers` when it has none), says what
such a process says, and ends.
"""
import logging
import sys

import yaml
import zmq
from zmq.log.handlers import PUBHandler


def bind(socket, ports):
    for port in ports if isinstance(ports, list) else [ports]:
        try:
            socket.bind(f"tcp://*:{str(port).rsplit(':', 1)[-1]}")
            return
        except zmq.ZMQError:
            continue
    sys.exit("unable to find port to publish log messages to")


def main():
    config, name = sys.argv[1:]
    with open(config) as f:
        ports = yaml.safe_load(f)["zmq"]["ports"]["logging"]
    context = zmq.Context()
    # A PUB socket that can be asked whether somebody has subscribed.  NEMO_Nowcast's workers have a
    # plain one, and sleep for a second.
    socket = context.socket(zmq.XPUB)
    bind(socket, ports.get(name, ports["workers"]))
    handler = PUBHandler(socket)
    handler.root_topic = name
    handler.setFormatter(logging.Formatter("%(message)s\n"))
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    socket.poll(20_000)

    logger.info("started")
    logger.debug("reading /results/forcing/std::rivers")
    logger.info("Fraser River at Hope::3,400 m³/s")  # "::" ends the original
    try:
        raise ValueError("no forecast for tomorrow")
    except ValueError:
        logger.error("giving up", exc_info=True)
    logger.critical("shutting down")
    context.destroy(linger=2000)


main()
