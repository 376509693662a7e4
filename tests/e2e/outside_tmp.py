"""A server's program cannot lie in /tmp: in its sandbox it has an empty one of its own."""

import sys
from pathlib import Path

import pytest

outside_tmp = pytest.mark.skipif(
    Path(sys.prefix).is_relative_to("/tmp"),
    reason="this tree lies in /tmp, where no program of a sandbox may lie; clone it elsewhere",
)
