# SPDX-License-Identifier: Apache-2.0
"""What Python's own logging writes for a NEMO_Nowcast configuration: the oracle of test_nowcast.py.

    nowcast_original.py CONFIG < records

A record is a line of JSON: [ns, logger_name, level name, message].  The configuration is set up as
the aggregator does it: $(NOWCAST.ENV.X) in file names, WatchedFileHandler for RotatingFileHandler
without backupCount, dictConfig.
"""
import json
import logging
import logging.config
import logging.handlers  # noqa: F401
import os
import re
import sys

import yaml


def configure(path):
    with open(path) as f:
        config = yaml.safe_load(f)["logging"]
    config = config.get("aggregator", config)
    for handler in config["handlers"].values():
        if "filename" in handler:
            handler["filename"] = re.sub(
                r"\$\(NOWCAST\.ENV\.(\w*)\)\w*", lambda m: os.environ[m.group(1)], handler["filename"])
        if handler["class"] == "logging.handlers.RotatingFileHandler":
            handler["class"] = "logging.handlers.WatchedFileHandler"
            handler.pop("backupCount", None)
    logging.config.dictConfig(config)


def main():
    configure(sys.argv[1])
    logger = logging.getLogger("log_aggregator")
    for line in sys.stdin:
        ns, name, level, message = json.loads(line)
        level = getattr(logging, level)
        if not logger.isEnabledFor(level):
            continue
        record = logger.makeRecord(
            logger.name, level, "aggregator.py", 1, message, (), None, extra={"logger_name": name})
        record.created, record.msecs = ns / 1e9, ns // 1_000_000 % 1000
        logger.handle(record)


main()
