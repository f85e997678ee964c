# SPDX-License-Identifier: Apache-2.0
"""rsyslogd and loggen as tests run them, and a server that listens for them."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import sawlog

RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin")
# A directory kept between runs: fetching a package again for each would be rude.
UNPACKED = sawlog.ROOT / "build/syslog-ng"


class Rsyslogd(sawlog.Process):
    """An rsyslogd of the test's own: nothing of /etc, nothing in the background."""

    def __init__(self, folder, config, name="rsyslogd"):
        super().__init__(name, folder)
        self.work = self.folder / f"{name}-work"
        self.work.mkdir(exist_ok=True)
        self.config = self.folder / f"{name}.conf"
        self.config.write_text(f'global(workDirectory="{self.work}" maxMessageSize="64k")\n{config}\n')

    def start(self):
        self.spawn([RSYSLOGD, "-n", "-f", str(self.config), "-i", str(self.folder / f"{self.name}.pid")])
        return self


def need_rsyslogd(module=None):
    if not RSYSLOGD:
        pytest.skip("rsyslog is not installed")
    if module and not list(Path("/usr/lib").glob(f"*/rsyslog/{module}.so")):
        pytest.skip(f"rsyslog has no {module} here (package rsyslog-gnutls)")


class Loggen:
    """loggen is part of syslog-ng-core, which cannot be installed beside rsyslog: unpacked, it runs too."""

    def __init__(self):
        self.program, self.env = shutil.which("loggen"), {}
        if self.program:
            return
        root = UNPACKED
        if not (root / "usr/bin/loggen").exists():
            root.mkdir(parents=True, exist_ok=True)
            try:
                subprocess.run(["apt-get", "download", "-qq", "syslog-ng-core"], cwd=root, check=True,
                               capture_output=True, timeout=120)
                subprocess.run(["dpkg", "-x", *root.glob("syslog-ng-core_*.deb"), root], check=True, capture_output=True)
            except (OSError, subprocess.SubprocessError) as e:
                pytest.skip(f"loggen cannot be had: {e}")
        self.program = root / "usr/bin/loggen"
        libraries = [*root.glob("usr/lib/*-linux-gnu*"), root / "usr/lib/syslog-ng"]
        self.env = {"SYSLOGNG_PREFIX": str(root / "usr"), "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
        if self.run("--version", check=False).returncode not in (0, 1):
            pytest.skip("loggen does not start here")

    def run(self, *args, check=True):
        r = subprocess.run([self.program, *map(str, args)], env={**os.environ, **self.env},
                           capture_output=True, text=True, timeout=60)
        assert not check or r.returncode == 0, (args, r.stdout, r.stderr)
        return r


def certificates(folder):
    """A CA and a certificate for localhost and 127.0.0.1, signed by it: {name: path}."""
    files = {name: folder / f"{name}.pem" for name in ("ca", "ca-key", "cert", "key", "request")}

    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=30)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", files["ca-key"], "-out", files["ca"], "-days", 2,
            "-subj", "/CN=test CA", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", *new_key, "-keyout", files["key"], "-out", files["request"], "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", files["request"], "-CA", files["ca"], "-CAkey", files["ca-key"],
            "-set_serial", 1, "-days", 2, "-extfile", folder / "names", "-out", files["cert"])
    files["key"].chmod(0o600)
    return files


def syslog_server(nodes, tls=None, **more):
    """A server with a syslog input on every kind of address: (server, {kind: port or path})."""
    at = {kind: sawlog.free_port() for kind in ("udp", "tcp", "tls")}
    at |= {kind: nodes.folder / f"{kind}.sock" for kind in ("unix", "unix-dgram")}
    listen = [f"{kind}://127.0.0.1:{where}" if isinstance(where, int) else f"{kind}://{where}"
              for kind, where in at.items() if kind != "tls" or tls]
    config = f"inputs:\n  - syslog:\n      listen: [{', '.join(listen)}]\n"
    if tls:
        config += f"      tls: {{cert: {tls['cert']}, key: {tls['key']}}}\n"
    return nodes.server(config=config, **more), at


def count(server, select='{input="syslog"}'):
    result = server.get("/loki/api/v1/query", {
        "query": f"sum(count_over_time({select}[2d]))"}).json()["data"]["result"]
    return int(float(result[0]["value"][1])) if result else 0
