"""Job tokens in the shapes of GitHub Actions, GitLab CI and Kubernetes, of issuers of our own.

The claims are those that the three document (GitHub: "OpenID Connect reference"; GitLab: "ID token authentication"; Kubernetes: "Managing
service accounts"), with their types: GitHub's and GitLab's ids and `ref_protected` are strings, GitLab's `runner_id` is a number.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from tests.issuing import Issuer

CLASSIC_SUB = "repo:octo-org/payments:ref:refs/heads/main"
IMMUTABLE_SUB = "repo:octo-org-17/payments-1001:ref:refs/heads/main"
ACCOUNT_UID = "6f2ba3a4-0000-4000-8000-000000000001"


def github_claims(**changed: Any) -> dict[str, Any]:
    base = {
        "sub": CLASSIC_SUB, "ref": "refs/heads/main", "sha": "c0ffee" * 6 + "c0ff", "repository": "octo-org/payments",
        "repository_owner": "octo-org", "repository_owner_id": "17", "run_id": "9001", "run_number": "12", "run_attempt": "1",
        "repository_visibility": "private", "repository_id": "1001", "actor_id": "58412", "actor": "mona", "workflow": "nightly",
        "head_ref": "", "base_ref": "", "event_name": "push", "ref_protected": "true", "ref_type": "branch",
        "workflow_ref": "octo-org/payments/.github/workflows/nightly.yml@refs/heads/main", "workflow_sha": "c0ffee",
        "job_workflow_ref": "octo-org/payments/.github/workflows/nightly.yml@refs/heads/main", "job_workflow_sha": "c0ffee",
        "runner_environment": "github-hosted",
    }  # fmt: skip
    return base | changed


def gitlab_claims(**changed: Any) -> dict[str, Any]:
    base = {
        "sub": "project_path:shop/payments:ref_type:branch:ref:main", "namespace_id": "7", "namespace_path": "shop", "project_id": "42",
        "project_path": "shop/payments", "user_id": "301", "user_login": "ada", "user_email": "ada@example.com",
        "user_access_level": "maintainer", "pipeline_id": "555", "pipeline_source": "push", "job_id": "777", "ref": "main",
        "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true", "runner_id": 1,
        "runner_environment": "self-hosted", "sha": "714a629c", "project_visibility": "private",
        "ci_config_ref_uri": "gitlab.example.com/shop/payments//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": "714a629c",
    }  # fmt: skip
    return base | changed


def kubernetes_claims(**changed: Any) -> dict[str, Any]:
    base = {
        "sub": "system:serviceaccount:payments:reporter",
        "kubernetes.io": {
            "namespace": "payments",
            "node": {"name": "node-1", "uid": "n-1"},
            "pod": {"name": "report-abc12", "uid": "p-1"},
            "serviceaccount": {"name": "reporter", "uid": ACCOUNT_UID},
        },
    }
    return base | changed


def token(issuer: Issuer, audience: Any, claims: dict[str, Any], header: Any = None, **changed: Any) -> str:
    """A token of now, good for five minutes, with a jti of its own; a claim given as None is left out."""
    now = int(time.time())
    base = {"aud": audience, "azp": None, "jti": str(uuid.uuid4()), "iat": now, "nbf": now, "exp": now + 300}
    return issuer.token(header, **{**base, **claims, **changed})


class Published:
    """Discovery documents and key sets of some issuers, as they are at each request."""

    def __init__(self, issuers: tuple[Issuer, ...]) -> None:
        self.issuers = {issuer.url.rpartition("/")[2]: issuer for issuer in issuers}
        self.asked: list[str] = []

    def answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        name, _, what = path.lstrip("/").partition("/")
        issuer = self.issuers.get(name)
        if issuer is None:
            return None
        if what.startswith("request?"):
            # GitHub's way: a job asks at a URL of its own for a token with the audience that it names.
            audience = parse_qs(what.partition("?")[2])["audience"][0]
            claims = github_claims(run_id=str(uuid.uuid4().int % 10**12 + 1))
            return json.dumps({"count": 1, "value": token(issuer, audience, claims)}).encode()
        if what == ".well-known/openid-configuration":
            return json.dumps({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"}).encode()
        return json.dumps(issuer.jwks()).encode() if what == "jwks" else None


@contextlib.contextmanager
def published(*names: str) -> Iterator[tuple[Published, tuple[Issuer, ...]]]:
    """Issuers of these names (RS256, as the real ones are) at `http://localhost:PORT/NAME`."""
    held: list[Published] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = held[0].answer(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuers = tuple(
        Issuer(f"http://localhost:{server.server_port}/{name}", name=name, kind="job", algorithm="RS256")
        for name in names
    )
    held.append(Published(issuers))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield held[0], issuers
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
