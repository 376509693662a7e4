"""Another release of Gatebook, installed beside the one under test: a virtual environment of its own, with the same tree under another version."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import gatebook

TREE = Path(gatebook.__file__).parent


class Release:
    """`python`: its interpreter; `package`: its files, to be changed before it is started."""

    def __init__(self, directory: Path, version: str) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
        self.version = version
        self.python = directory / "bin" / "python"
        site = directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        self.package = site / "gatebook"
        shutil.copytree(TREE, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        # What it depends on comes from the environment of the tests; its own package stands before theirs.
        (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        self.change("__init__.py", f'"{gatebook.__version__}"', f'"{version}"')

    def change(self, name: str, old: str, new: str) -> None:
        path = self.package / name
        text = path.read_text()
        assert old in text, f"{name} holds no {old}"
        path.write_text(text.replace(old, new))

    def command(self, directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`gatebook ARGUMENTS` of this release, as a user types it."""
        return subprocess.run(
            [self.python, "-m", "gatebook", *arguments], cwd=directory, capture_output=True, text=True, timeout=250
        )
