"""How many files the gateway may have open."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource
from nexeon.gateway.server.files import open_many
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
open_many()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
open_many()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_all_that_the_system_allows() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "128 128\n128 128\n"
