# SPDX-License-Identifier: Apache-2.0
"""logger(1) in each of its ways."""
import shutil
import subprocess

import pytest
import sawlog
from senders import count, syslog_server

WAYS = {
    "udp 3164": ("udp", ["--udp", "--rfc3164"]),
    "udp 5424": ("udp", ["--udp", "--rfc5424"]),
    "tcp octet count": ("tcp", ["--tcp", "--octet-count", "--rfc5424"]),
    "tcp octet count 3164": ("tcp", ["--tcp", "--octet-count", "--rfc3164"]),
    "tcp lf": ("tcp", ["--tcp", "--rfc5424"]),
    "tcp lf 3164": ("tcp", ["--tcp", "--rfc3164"]),
    "unix stream": ("unix", []),
    "unix datagram": ("unix-dgram", []),
}
TEXTS = ["the first", "<34>not a priority", "blanks  and\ttabs ", "é € 𝄞", "100% %s [brackets] {braces}",
         "looks: like[12]: a tag: it is not", "x" * 900]


@pytest.mark.skipif(not shutil.which("logger"), reason="no logger(1) here")
@pytest.mark.parametrize("way", WAYS)
def test_logger(nodes, way):
    server, at = syslog_server(nodes)
    kind, flags = WAYS[way]
    where = ["--server", "127.0.0.1", "--port", at[kind]] if isinstance(at[kind], int) else ["--socket", at[kind]]
    for i, text in enumerate(TEXTS):
        subprocess.run(["logger", *flags, *map(str, where), "--tag", "interop", "--id=4711", "--size", "4KiB",
                        "--priority", "local2.err", "--", text], check=True, timeout=20)
        sawlog.wait_for(f"message {i}", lambda n=i + 1: count(server) == n)
    entries = server.entries('{app="interop"}')
    assert [line for _, line, _ in entries] == TEXTS
    labels = entries[0][2]
    assert labels["detected_level"] == "error"
    assert labels["input"] == "syslog"
