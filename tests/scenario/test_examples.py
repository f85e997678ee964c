# SPDX-License-Identifier: Apache-2.0
"""The examples do what they say."""
import os
import subprocess

import sawlog

EXAMPLES = sawlog.ROOT / "examples"


def run(script, *args, **env):
    r = subprocess.run(["sh", EXAMPLES / script, *args], capture_output=True, timeout=60, text=True,
                       env={**os.environ, **env})
    assert r.returncode == 0, r.stderr
    return r.stdout


def test_loki(server):
    out = run("loki.sh", server.url)
    assert "disk sda1" in out and '"detected_level":"info"' in out


def test_batch(server):
    out = run("batch.sh", server.url)
    assert out.startswith("imok\nok\n") and out.endswith("\n".join(map(str, range(1, 11))) + "\n")


def test_forward():
    out = run("forward.sh", sawlog.SAWLOG, PORT=str(sawlog.free_port()))
    assert all(f"order {i} paid" in out for i in range(1, 7)) and "deployed" in out


def test_secure():
    out = run("secure.sh", sawlog.SAWLOG, PORT=str(sawlog.free_port()))
    assert "order 1 paid" in out and "order 2 paid" in out and '"app"' in out
    assert out.endswith("exit status 77\nexit status 77\n")
