#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make fault: the crash campaign for a given time, over and over, seeds printed."""
import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import crash  # noqa: E402
import sawlog  # noqa: E402


class Nodes:
    def __init__(self, folder):
        self.folder, self.made = folder, []

    def server(self, **kw):
        self.made.append(sawlog.Server(self.folder, **kw))
        return self.made[-1].start()

    def forwarder(self, server, *paths, **kw):
        self.made.append(sawlog.Forwarder(self.folder, server.url, paths, **kw))
        return self.made[-1].start()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--time", type=float, default=60, help="seconds in all")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    end, seed, passed, kills = time.monotonic() + a.time, a.seed, 0, 0
    while time.monotonic() < end:
        with sawlog.folder() as folder:
            nodes = Nodes(folder)
            try:
                left = max(5, min(60, end - time.monotonic()))
                result = crash.campaign(nodes, 0, seed, seconds=left)
            except AssertionError as e:
                print(f"seed {seed}: {e}\n{passed} passed, 1 failed")
                return 1
            finally:
                for n in nodes.made:
                    n.close()
        print(result)
        kills += result["server"] + result["forwarder"] + result["both"]
        passed, seed = passed + 1, seed + 1
    print(f"{kills} kills, 0 lost, 0 twice\n{passed} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
