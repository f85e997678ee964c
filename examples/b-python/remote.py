# SPDX-License-Identifier: Apache-2.0
"""A program on another host, whose records come by ssh; nothing but ssh has to be open.

    python3 remote.py HOST [LOGDIR] [--here NAME] [--ssh-config FILE]

HOST needs python3; this folder's nwlogger.py is copied there.  It must be able to come back here by
ssh, as NAME: the key of its user is in the authorized_keys of this one.
"""
import argparse
import json
import logging
import shlex
import socket
import subprocess
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


def main(host, logdir, here, ssh_config):
    ssh = ["ssh", *(["-F", ssh_config] if ssh_config else []), host]
    copy = "d=$(mktemp -d) && cat > $d/nwlogger.py && echo $d"
    with open(Path(__file__).with_name("nwlogger.py"), "rb") as library:
        folder = subprocess.run([*ssh, copy], check=True, stdin=library, capture_output=True, text=True).stdout.strip()
    with NwLogger(name="example", logging_level=logging.DEBUG, logdir=logdir,
                  ssh_host=here, ssh_config=ssh_config) as nwlogger:
        nwlogger.get_logger().info("a program begins on %s", host)
        program = shlex.join(["python3", "-c", PROGRAM, json.dumps(nwlogger.logger_info())])
        subprocess.run([*ssh, f"cd {shlex.quote(folder)} && {program}; rm -r {shlex.quote(folder)}"], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("logdir", nargs="?", default="logs")
    parser.add_argument("--here", default=socket.gethostname(), help="what HOST calls this host")
    parser.add_argument("--ssh-config", help="file for ssh -F, on both sides")
    args = parser.parse_args()
    main(args.host, args.logdir, args.here, args.ssh_config)
