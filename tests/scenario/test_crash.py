# SPDX-License-Identifier: Apache-2.0
"""50 kills -9 under load lose nothing that was acknowledged and keep nothing twice."""
import os

import crash
import pytest
import sawlog


def seed():
    return int(os.environ.get("SEED", "0")) or int.from_bytes(os.urandom(4), "big")


def test_fifty_kills(nodes):
    result = crash.campaign(nodes, 50, seed())
    print(result)
    assert result["lines"] > 5000


def test_kills_while_parts_are_merged(nodes):
    result = crash.campaign(nodes, 30, seed(), upkeep=True)
    print(result)
    assert result["lines"] > 1000


@pytest.mark.skipif(sawlog.SANITIZED, reason="the control needs the speed of a plain build")
def test_the_mutant_is_caught(nodes):
    """The positive control: the same campaign and audit, on a build that stores resends again."""
    with pytest.raises(AssertionError, match="stored"):
        crash.campaign(nodes, 12, seed(), mutant=True)
