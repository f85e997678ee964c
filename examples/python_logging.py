# SPDX-License-Identifier: Apache-2.0
"""A program of several processes that logs to sawlog: python3 examples/python_logging.py [PORT]

Nothing but Python's own logging; see examples/python.yaml for the other side."""
import logging
import logging.handlers
import multiprocessing
import sys


def set_up(port):
    """Once in each process.  What is logged while nobody listens is lost: SocketHandler keeps nothing."""
    root = logging.getLogger()
    root.setLevel(logging.DEBUG)
    root.addHandler(logging.handlers.SocketHandler("127.0.0.1", port))


def work(port, order):
    set_up(port)
    logger = logging.getLogger("shop.orders")
    logger.info("order %d paid", order, extra={"order": order, "currency": "€"})
    try:
        {}["stock"]
    except KeyError:
        logger.exception("order %d cannot be sent", order)
    logging.shutdown()


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9020
    set_up(port)
    logging.getLogger("shop").warning("the shop opens")
    # A forked process would write to its parent's connection.
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work, args=(port, n)) for n in range(1, 4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    logging.shutdown()
