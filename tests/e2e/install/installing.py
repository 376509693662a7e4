"""Gatebook installed as a stranger installs it, without a network: a wheel built here, and the packages that it needs packed again from this environment."""

import base64
import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.docs.pages import ROOT

SYSTEM_PYTHON = Path("/usr/bin/python3")
EPOCH = "315532800"
OFFLINE = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | {
    "PIP_CONFIG_FILE": os.devnull
}
"""Whatever this machine tells pip of other places holds not here."""


def build(kind: str, into: Path, source: Path = ROOT) -> Path:
    """A wheel or sdist of `source` by its own backend, as installed here."""
    into.mkdir(parents=True, exist_ok=True)
    hook = {"wheel": "build_wheel", "sdist": "build_sdist"}[kind]
    code = f"import sys; from flit_core import buildapi; print(buildapi.{hook}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(into)],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return into / done.stdout.split()[-1]


def runtime_names() -> list[str]:
    """What requirements/runtime.txt pins, where it is for this machine."""
    text = (ROOT / "requirements/runtime.txt").read_text()
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==", text, re.MULTILINE)
    return [name for name in pinned if _installed(name) is not None]


def pack(into: Path, names: list[str]) -> None:
    """A wheel of each of these distributions, from the files that pip installed of it."""
    into.mkdir(parents=True, exist_ok=True)
    for name in names:
        found = _installed(name)
        assert found is not None and found.files is not None, name
        tags = [tag.split("-") for tag in re.findall(r"^Tag: (.+)$", found.read_text("WHEEL") or "", re.MULTILINE)]
        tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
        wheel = into / f"{re.sub(r'[-_.]+', '_', name)}-{found.version}-{tag}.whl"
        record = ""
        with zipfile.ZipFile(wheel, "w") as packed:
            for file in found.files:
                path = Path(str(found.locate_file(file)))
                if ".." in file.parts or file.name in ("RECORD", "INSTALLER", "REQUESTED") or file.suffix == ".pyc":
                    continue
                content = path.read_bytes()
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                record += f"{file},sha256={digest},{len(content)}\n"
                packed.writestr(str(file), content)
                if file.name == "METADATA" and file.parent.suffix == ".dist-info":
                    where = f"{file.parent}/RECORD"
            packed.writestr(where, record + f"{where},,\n")


def install(place: Path, wheels: Path, what: list[str], *, python: Path = SYSTEM_PYTHON) -> Path:
    """A virtual environment of `python` at `place` with `what` and all that it needs, from `wheels` alone; its bin folder."""
    subprocess.run([str(python), "-m", "venv", "--without-pip", str(place)], check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin/python"), "install", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-index", "--no-cache-dir", "--find-links", str(wheels), *what],
        capture_output=True,
        text=True,
        cwd="/",
        env=OFFLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "bin"


def _installed(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
