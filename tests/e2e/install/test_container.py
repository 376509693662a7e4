"""The Dockerfile, judged by hadolint. Nothing is built: that takes a container engine."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

HADOLINT = Path(sys.executable).parent / "hadolint"


def judged(dockerfile: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([HADOLINT, "-"], input=dockerfile, capture_output=True, text=True, timeout=60)


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    if not HADOLINT.exists():
        pytest.skip("no hadolint for this kind of machine")
    text = (ROOT / "Dockerfile").read_text()
    done = judged(text)
    assert done.returncode == 0, done.stdout
    assert "DL3002" in judged(text.replace("# hadolint ignore=DL3002\n", "")).stdout, "and this sees one"
