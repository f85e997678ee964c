# SPDX-License-Identifier: Apache-2.0
"""Files are rotated in every manner while forwarder and server are killed: each line once."""
import os

import pytest
import rotate
import sawlog

SLOW = sawlog.SANITIZED


def seed():
    return int(os.environ.get("SEED", "0")) or int.from_bytes(os.urandom(4), "big")


def test_two_hundred_rotations_with_kills(nodes):
    result = rotate.campaign(nodes, seed(), mean_bytes=0.3e6 if SLOW else 1.0e6)
    print(result)
    assert result["rotations"] >= 200
    assert result["forwarder"] + result["both"] + result["server"] > 0
