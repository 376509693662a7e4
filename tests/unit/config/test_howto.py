"""The examples of docs/howto/configure.md are what the schema accepts."""

import re
import tomllib
from pathlib import Path

import pytest

from gatebook.config import examine_bytes
from gatebook.config.reading import read

PAGE = Path(__file__).parents[3] / "docs/howto/configure.md"
SERVER = '[[server]]\nname = "payments"\nurl = "https://payments.internal/mcp"\n'
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_accepted_where_it_belongs(example: str) -> None:
    text = example if example.startswith(("[[role", "[[issuer")) else SERVER + example
    assert tomllib.loads(text)
    assert read(text.encode()).problems == ()


JOB_PAGES = ("github-actions.md", "gitlab-ci.md", "kubernetes.md", "jenkins-and-cron.md")
DESK = """profile = "dev"
listen = ["127.0.0.1:8080"]
[desk]
listen = ["127.0.0.1:8444"]
public_url = "https://login.mcp.example.com"
[desk.tls]
certificate = "cert.pem"
key = "key.pem"
"""


@pytest.mark.parametrize("page", JOB_PAGES)
def test_the_configuration_for_jobs_is_right_as_it_stands(page: str, tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", (PAGE.parent / page).read_text(encoding="utf-8"), re.DOTALL)
    for name in ("cert.pem", "key.pem", "cluster-keys.json", "nightly-report.pem"):
        (tmp_path / name).write_bytes(b"")
    server = SERVER.replace("https://payments.internal/mcp", "http://127.0.0.1:9000/mcp")
    found = examine_bytes((DESK + server + example).encode(), tmp_path / "gatebook.toml").problems
    assert [str(problem) for problem in found if "dev profile" not in str(problem)] == []
