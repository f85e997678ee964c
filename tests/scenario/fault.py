#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make fault: the crash, the rotation and the routers' campaign in turn for a given time, then a cluster of three brokers and three
collectors of which each kind is killed 20 times; seeds printed.

A failure names its campaign and seed; --only and --seed run it again."""
import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import cluster  # noqa: E402
import crash  # noqa: E402
import rabbit  # noqa: E402
import rotate  # noqa: E402
import routes  # noqa: E402
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


def crash_campaign(nodes, seed, left):
    return crash.campaign(nodes, 0, seed, seconds=max(5, min(60, left)))


def rotate_campaign(nodes, seed, _):
    """Sizes and manners vary with the seed: few large files, many small ones, a wide glob."""
    rotations, mean = [(200, 1.0e6), (500, 0.4e6), (1000, 0.1e6)][seed // 2 % 3]
    if seed // 6 % 4 == 3:
        kinds = tuple(k for k in rotate.KINDS if k != "truncate")
        return rotate.campaign(nodes, seed, rotations=rotations // 2, mean_bytes=mean, kinds=kinds, wide=True)
    return rotate.campaign(nodes, seed, rotations=rotations, mean_bytes=mean, reads_packed=seed // 6 % 2 == 1)


def cluster_campaign(nodes, seed, _):
    """However long it takes: about four minutes."""
    with rabbit.brokers(3) as group:
        return cluster.campaign(nodes.folder, group, "/", seed, kills=20, broker_kills=20)


def route_campaign(nodes, seed, _):
    """Two routers, two servers and a forwarder, any of them killed."""
    made = routes.Made(nodes.folder)
    try:
        return routes.campaign(made, kills=20, seed=seed)
    finally:
        made.close()


CAMPAIGNS = {"crash": crash_campaign, "rotate": rotate_campaign, "route": route_campaign, "cluster": cluster_campaign}
IN_TURN = ("crash", "rotate", "route")
KILLS = ("server", "forwarder", "both", "long", "reborn", "routes", "collectors", "brokers")


def run(name, seed, seconds):
    """One campaign in a folder of its own."""
    with sawlog.folder() as folder:
        nodes = Nodes(folder)
        try:
            return CAMPAIGNS[name](nodes, seed, seconds)
        finally:
            for n in nodes.made:
                n.close()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--time", type=float, default=60, help="seconds in all")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", choices=sorted(CAMPAIGNS), help="one campaign alone")
    a = p.parse_args()
    end, seed, passed, total = time.monotonic() + a.time, a.seed, 0, {}
    due = [] if a.only or rabbit.missing() else ["cluster"]
    if rabbit.missing():
        print(f"no cluster: {rabbit.missing()}")
    while (left := end - time.monotonic()) > 0 or due:
        name = a.only or (IN_TURN[seed % len(IN_TURN)] if left > 0 else due.pop())
        try:
            result = run(name, seed, left)
        except AssertionError as e:
            print(f"{name}, seed {seed}: {e}\n{passed} passed, 1 failed")
            return 1
        print(name, result, flush=True)
        for key in (*KILLS, "rotations", "lines", "confirmed"):
            total[key] = total.get(key, 0) + result.get(key, 0)
        passed, seed = passed + 1, seed + 1
    kills = sum(total[key] for key in KILLS)
    print(f"{kills} kills, {total['rotations']} rotations, {total['lines']} lines, {total['confirmed']} messages, "
          f"0 lost, 0 twice\n{passed} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
