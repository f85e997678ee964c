# SPDX-License-Identifier: Apache-2.0
"""The loggregator input: datagrams on loopback at 100,000 a second, CPU from the socket to the commit, and whether
each of them is accounted for."""
import re
import subprocess
import time

import sawlog

RATE, SECONDS, SIZE = 100_000, 5, 120
FORMS = (("LogMessage", "2013", False), ("LogEnvelope, signed", "2013", True), ("dropsonde", "dropsonde", False),
         ("dropsonde, HMAC", "dropsonde", True))


class Listening:
    def __init__(self, folder, signed):
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.secret = sawlog.free_port(), folder / "secret"
        self.secret.write_text("a secret of this benchmark\n")
        more = f", shared_secret_file: {self.secret}" if signed else ""
        config = (f"inputs:\n  - loggregator: {{listen: 'udp://127.0.0.1:{self.port}', receive_buffer: 32MiB{more}}}\n")
        self.server = sawlog.Server(folder, config=config).start()

    def counted(self):
        """(committed, dropped by the kernel, refused): all that came, but for what tells of drops."""
        metrics = self.server.metrics()
        dropped = {re.search('reason="(.*?)"', k).group(1): v for k, v in metrics.items()
                   if k.startswith("sawlog_dropped_records_total") and 'input="loggregator"' in k}
        told = sum(v for k, v in metrics.items()
                   if k.startswith("sawlog_app_records_total") and 'app="loggregator-drops"' in k)
        kernel = dropped.pop("kernel_drop", 0)
        return self.server.metric("sawlog_committed_records_total", input="loggregator") - told, kernel, \
            sum(dropped.values())


def send(listening, form, signed):
    """How many datagrams were sent, and how many a second."""
    flags = ["--secret-file", str(listening.secret)] if signed else []
    done = subprocess.run(
        [sawlog.SAWLOG, "emit", f"loggregator=udp://127.0.0.1:{listening.port}", "--generate", "--count",
         str(RATE * SECONDS), "--rate", str(RATE), "--batch", "200", "--size", str(SIZE), "--form", form, *flags],
        capture_output=True, text=True, check=True)
    n, rate = re.search(r"sent (\d+) lines in .*\((\d+) lines/s\)", done.stderr).groups()
    return int(n), int(rate)


def run(folder, cpu):
    """Yields (name, datagrams per CPU-second of the server, sent a second, share committed, uncounted)."""
    for name, form, signed in FORMS:
        listening = Listening(folder / name.replace(", ", "-"), signed)
        pid = listening.server.child.pid
        used, before = cpu(pid), listening.counted()  # what an earlier run left in the folder is counted on
        sent, rate = send(listening, form, signed)
        end = time.monotonic() + 10
        while sum(listening.counted()) - sum(before) < sent and time.monotonic() < end:
            time.sleep(0.1)
        used = cpu(pid) - used
        committed, kernel, refused = (a - b for a, b in zip(listening.counted(), before))
        yield name, committed / used, rate, committed / sent, sent - committed - kernel - refused
        listening.server.close()
