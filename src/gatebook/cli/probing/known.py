"""How a configured server is reached by a probe: with its own credential, as the gate or the runner would reach it."""

import contextlib
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from gatebook.adapters.secrets import FileOrEnvironment
from gatebook.cli.person.asking import trusting
from gatebook.cli.probing.offer import Connect
from gatebook.cli.probing.speaking import Broken, Speaker, over_http, over_program
from gatebook.model.deployment import Command, Deployment, SecretReference, Server
from gatebook.model.errors import UpstreamError
from gatebook.serve.runner.finding_host import find_host
from gatebook.serve.runner.places import look
from gatebook.serve.runner.sandbox import Launch, NoSandbox, launch


def connect_to(
    server: Server, deployment: Deployment, config: Path, waiting: Mapping[str, bytes] | None = None
) -> Connect:
    """Connections to the server, each a new one; a command in the sandbox that it will have. `waiting`: path → content of secret files that are
    still to be written. Broken is raised by the connecting."""
    values = _Values(waiting or {})
    host = find_host() if server.command is not None else None

    def launched(command: Command) -> tuple[Launch, Path]:
        """How it is started, and the directory of its own that is made for it."""
        assert host is not None
        secrets = {name: os.fsdecode(values.of(reference)) for name, reference in command.secrets.items()}
        files = {name: values.of(reference) for name, reference in command.secret_files.items()}
        places = look(command, deployment, config)
        private = Path(tempfile.mkdtemp(prefix="gatebook-probe-"))
        try:
            return launch(command, host, places, secrets=secrets, secret_files=files, private=str(private)), private
        except NoSandbox as why:
            private.rmdir()
            raise Broken(str(why)) from why

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Speaker]:
        if server.command is not None:
            async with over_program(*launched(server.command)) as speaker:
                yield speaker
            return
        async with over_http(server.url, _headers(server, values), _tls(server)) as speaker:
            yield speaker

    return connect


def _headers(server: Server, values: "_Values") -> dict[str, str]:
    if server.credential is None:
        return {}
    secret = values.of(server.credential.secret).decode("latin-1")
    return {server.credential.header: server.credential.template.replace("{secret}", secret)}


def _tls(server: Server) -> Mapping[str, Any] | None:
    if server.ca_file is None and server.client_certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=server.ca_file)
        if server.client_certificate is not None:
            context.load_cert_chain(server.client_certificate, server.client_key)
    except OSError as failure:
        raise Broken(f"its certificates cannot be used: {failure.strerror or type(failure).__name__}") from failure
    return {**trusting(server.url), "verify": context}


class _Values:
    """Secrets as the gate would find them."""

    def __init__(self, waiting: Mapping[str, bytes]) -> None:
        self._waiting = waiting

    def of(self, reference: SecretReference) -> bytes:
        """Raises Broken."""
        if reference.scheme == "file" and reference.locator in self._waiting:
            return self._waiting[reference.locator].removesuffix(b"\n")
        try:
            return FileOrEnvironment().resolve(reference).reveal()
        except UpstreamError as failure:
            raise Broken(failure.words) from failure
