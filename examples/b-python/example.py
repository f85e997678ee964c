# SPDX-License-Identifier: Apache-2.0
"""Five sentences of three loggers, in files of their own and in one of all.

    python3 example.py [LOGDIR]
"""
import logging
import sys

from nwlogger import NwLogger


def main(logdir="logs"):
    nwlogger = NwLogger(name="example", logging_level=logging.DEBUG, logdir=logdir, consolidate="all")
    logger = nwlogger.start()

    logger.info("Jackdaws love my big sphinx of quartz.")

    info = nwlogger.logger_info()
    first = NwLogger.get_logger(info, name="example.e1")
    second = NwLogger.get_logger(info, name="example.e2")

    first.info("How quickly daft jumping zebras vex.")
    second.warning("Jail zesty vixen who grabbed pay from quack.")
    first.debug("Quick zephyrs blow, vexing daft Jim.")
    second.error("The five boxing wizards jump quickly.")

    nwlogger.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
