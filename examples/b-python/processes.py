# SPDX-License-Identifier: Apache-2.0
"""A tree of processes with one log: those that are spawned, and those that are forked.

    python3 processes.py [LOGDIR [PROCESSES [RECORDS]]]
"""
import logging
import multiprocessing
import sys

from nwlogger import NwLogger


def work(info, number, records):
    logger = NwLogger.get_logger(info, name=f"tree.worker{number}")
    for i in range(records):
        logger.info("record %d of %d", i + 1, records)


def main(logdir="logs", processes=4, records=1000):
    with NwLogger(name="tree", logging_level=logging.DEBUG, logdir=logdir, consolidate="all") as nwlogger:
        logger = nwlogger.get_logger()
        logger.debug("starting %d processes", processes)
        started = []
        for number in range(processes):
            context = multiprocessing.get_context("spawn" if number % 2 else "fork")
            started.append(context.Process(target=work, args=(nwlogger.logger_info(), number, records)))
            started[-1].start()
        for process in started:
            process.join()
        logger.debug("all have ended")
    # stop() has returned: all that was logged is in the files, and in the store.


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
