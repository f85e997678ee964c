# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fixtures import nodes, pytest_runtest_makereport, server  # noqa: E402,F401
from rabbit import _cluster, rabbit, rabbit_broker, rabbit_cluster  # noqa: E402,F401
