# SPDX-License-Identifier: Apache-2.0
"""Real clients.  npm packages are installed on first use from package-lock.json."""
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scenario"))
from fixtures import nodes, pytest_runtest_makereport, server  # noqa: E402,F401
from rabbit import _cluster, rabbit, rabbit_broker, rabbit_cluster  # noqa: E402,F401


@pytest.fixture(scope="session")
def npm():
    marker = HERE / "node_modules/.package-lock.json"
    if not marker.exists() or marker.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-progress", "--silent"], cwd=HERE, check=True, timeout=300)

    def node(script, *args):
        return subprocess.run(["node", HERE / script, *map(str, args)], capture_output=True, timeout=120, text=True)

    return node
