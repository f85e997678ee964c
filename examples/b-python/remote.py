# SPDX-License-Identifier: Apache-2.0
"""A program on another host, whose records come by ssh; nothing but ssh has to be open.

    python3 remote.py HOST [LOGDIR]

HOST needs python3 and this folder's nwlogger.py, which is copied there, and must be able to come
back here by ssh: its user's key is in this user's authorized_keys.
"""
import json
import logging
import shlex
import subprocess
import sys
from pathlib import Path

from nwlogger import NwLogger

PROGRAM = """
import json, sys
from nwlogger import NwLogger
info = json.loads(sys.argv[1])
logger = NwLogger.get_logger(info, name="example.remote", via="ssh")
logger.info("The quick brown fox jumps over the lazy dog.")
logger.error("Pack my box with five dozen liquor jugs.")
"""


def main(host, logdir="logs"):
    folder = "/tmp/nwlogger-example"
    subprocess.run(["ssh", host, f"mkdir -p {folder} && cat > {folder}/nwlogger.py"], check=True,
                   stdin=open(Path(__file__).with_name("nwlogger.py"), "rb"))
    with NwLogger(name="example", logging_level=logging.DEBUG, logdir=logdir) as nwlogger:
        nwlogger.get_logger().info("a program begins on %s", host)
        info = json.dumps(nwlogger.logger_info())
        command = ["python3", "-c", PROGRAM, info]
        subprocess.run(["ssh", host, f"cd {folder} && {shlex.join(command)}"], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
