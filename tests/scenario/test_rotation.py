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


def test_compressed_before_it_is_stored(nodes):
    result = rotate.campaign(nodes, seed(), rotations=100, mean_bytes=0.3e6 if SLOW else 1.0e6, kinds=("pack", "chain"),
                             reads_packed=True)
    print(result)


@pytest.mark.skipif(SLOW, reason="the control needs the speed of a plain build")
def test_the_mutant_is_caught(nodes):
    """The positive control: a forwarder that lets go of a file when it is renamed."""
    # What the audit finds, or sums that differ, or that it does not survive it; and not that the
    # machine was too slow to start a server.
    ways = "stored|accounted for|the forwarder ended by itself|stopped with"
    with pytest.raises(AssertionError, match=ways) as caught:
        rotate.campaign(nodes, seed(), rotations=60, kinds=("chain", "dates", "grow", "banner"), mutant="file")
    print(f"caught: {str(caught.value)[:300]}")


def test_a_glob_that_takes_in_the_rotated_names(nodes):
    kinds = tuple(k for k in rotate.KINDS if k != "truncate")  # a copy would be a file of its own
    print(rotate.campaign(nodes, seed(), rotations=72, kinds=kinds, mean_bytes=0.3e6, wide=True))


def test_a_burst_into_a_small_file(nodes, server):
    """A million lines as fast as they can be written, into a file that is rotated at 10 MB."""
    log = nodes.folder / "app.log"
    log.touch()
    forwarder = nodes.forwarder(server, log)
    positions = forwarder.data / "file" / "positions"
    sawlog.wait_for("the file is followed", lambda: positions.exists() and str(log) in positions.read_text())
    n, a_block = (100_000 if SLOW else 1_000_000), 1000
    text = "".join(f"@@@@{i:03d} " + "x" * (i * 7 % 160) + "\n" for i in range(a_block)).encode()
    out, rotations = open(log, "ab", buffering=0), 0
    for block in range(n // a_block):
        out.write(text.replace(b"@@@@", b"%04d" % block))
        if out.tell() >= 10e6:
            rotations += 1
            log.rename(log.with_name(f"app.log.{rotations}"))
            out.close()
            out = open(log, "ab", buffering=0)
    out.close()
    sawlog.wait_for("all of it", lambda: rotate.counts(server).get("app", 0) >= n, 60)
    with rotate.Reader(server, log) as reader:
        for block in range(n // a_block):
            assert reader.take(len(text)) == text.replace(b"@@@@", b"%04d" % block), f"block {block}"
        assert reader.take(1) == b""


def test_a_loss_that_two_gaps_could_be():
    """The audit itself: what one gap may be must not take away what another can only be."""
    assert rotate.unmatched([[0, 1], [0]]) is None
    assert rotate.unmatched([[0], [0, 1], [1]]) == 2
    assert rotate.unmatched([[]]) == 0
