"""The layers hold: import contracts, the purity of the deciding packages, and what the data plane may load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "gatebook"

PURE_PACKAGES = ("model", "wire", "identity", "federation", "policy", "approval", "masking", "ledger")

# What `.importlinter` cannot name: submodules of the standard library whose siblings are pure (urllib.parse, http).
IMPURE_MODULES = frozenset(
    "asyncio contextvars fcntl http.client http.server httpx2 logging mmap multiprocessing os pathlib random secrets"
    " select selectors shutil signal socket sqlite3 ssl subprocess tempfile threading time urllib.request uvloop".split()
)
IMPURE_CALLS = frozenset({"open", "input", "print", "breakpoint", "eval", "exec"})
IMPURE_METHODS = frozenset({"now", "utcnow", "today"})

# Never in a process that faces the network.
CONTROL_PLANE = (
    *("sqlalchemy", "alembic", "typer", "rich", "httpx2", "obstore", "jinja2", "pydantic"),
    *(
        "authlib",
        "mako",
        "h11",
        "lxml",
        "xmlsec",
        "onelogin",
        "gatebook.serve.desk_http",
        "gatebook.adapters.desk_store",
    ),
    *("prometheus_client", "opentelemetry", "google.protobuf"),
    *("mcp", "starlette", "uvicorn", "gatebook.config", "gatebook.reading", "gatebook.cli", "gatebook.demo"),
)


def pure_files() -> list[Path]:
    return sorted(file for package in PURE_PACKAGES for file in (SRC / package).rglob("*.py"))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def impurities(tree: ast.AST) -> Iterator[str]:
    """What a pure module does that it may not: an import, a call of a built-in, a look at the clock."""
    yield from (f"imports {name}" for name in imported_modules(tree) if is_impure(name))
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                yield f"calls {name}() in line {node.lineno}"
            case ast.Call(func=ast.Attribute(attr=name, value=ast.Name(id="datetime" | "date"))) if (
                name in IMPURE_METHODS
            ):
                yield f"reads the clock in line {node.lineno}"


def is_impure(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:length]) in IMPURE_MODULES for length in range(1, len(parts) + 1))


def test_every_package_says_it_is_one() -> None:
    """Without an `__init__.py` the import contracts do not see a package, and hold whatever it imports."""
    packages = {file.parent for file in SRC.rglob("*.py")}
    assert sorted(str(package.relative_to(SRC)) for package in packages if not (package / "__init__.py").exists()) == []


def test_import_contracts_hold() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    command = [str(lint_imports), "--no-logo", "--cache-dir", ".cache/import_linter"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("file", pure_files(), ids=lambda file: str(file.relative_to(SRC)))
def test_a_pure_module_knows_no_clock_no_chance_no_file_and_no_socket(file: Path) -> None:
    assert list(impurities(ast.parse(file.read_text(encoding="utf-8")))) == []


def test_the_purity_check_sees_what_it_looks_for() -> None:
    source = "import asyncio\nfrom urllib import request\nfrom socket import socket\nopen('x')\ndatetime.now()\n"
    assert len(list(impurities(ast.parse(source)))) == 6
    assert list(impurities(ast.parse("from urllib.parse import urlsplit\nimport hashlib\n"))) == []


def test_only_the_ledgers_adapters_make_a_receipt() -> None:
    makers = {
        str(file.relative_to(SRC))
        for file in SRC.rglob("*.py")
        if "Receipt" in (text := file.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Receipt"
    }
    assert all(maker.startswith(("adapters/segment", "adapters/ledger")) for maker in makers), makers


def test_a_worker_loads_nothing_of_the_control_plane() -> None:
    assert loaded_by("gate", CONTROL_PLANE) == []


def test_the_runner_loads_nothing_of_the_control_plane_but_its_http_server() -> None:
    """It stands nearest to strangers' programs, and should be back at once when it was killed: reading configurations costs a second."""
    assert loaded_by("runner", tuple(name for name in CONTROL_PLANE if name not in ("starlette", "uvicorn"))) == []


def loaded_by(kind: str, forbidden: tuple[str, ...]) -> list[str]:
    """What of `forbidden` is loaded in a room of this kind."""
    wiring = ast.parse((SRC / "wiring.py").read_text(encoding="utf-8"))
    [room] = [node for node in wiring.body if isinstance(node, ast.FunctionDef) and node.name == kind]
    modules = {node.module for node in ast.walk(room) if isinstance(node, ast.ImportFrom) and node.module}
    program = (
        f"import sys, gatebook.wiring, {', '.join(sorted(modules))};"
        f"print(*[name for name in {forbidden!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()
