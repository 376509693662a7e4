"""Whether another release can take over a deployment that runs, asked of that release itself before anything is given up."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from gatebook.model.errors import ConfigurationError
from gatebook.serve.control import VERSION

ANSWER_S = 60.0


def line_of(python: str, config: Path) -> tuple[str, ...]:
    """How a release is started: every release must understand that, and `GATEBOOK_HANDOVER` with it.

    -P, here and wherever we start ourselves: nothing is imported from the working directory, which may be anybody's."""
    return (python, "-P", "-m", "gatebook", "serve", "--config", str(config))


async def require_able(python: str, config: Path) -> str:
    """The release of `python` starts, speaks to rooms as we do, reads what lies in the data directory, and finds no error in the configuration:
    its version. Raises ConfigurationError with every reason."""
    status, said = await _asked(python, "formats", "--json", "--config", str(config))
    try:
        told: dict[str, Any] = json.loads(said)
        release, control, problems = str(told["release"]), told["control"], tuple(map(str, told["problems"]))
    except (ValueError, KeyError, TypeError) as failure:
        raise ConfigurationError(
            (f"{python}: no release of Gatebook that could take over answers there (exit code {status})",)
        ) from failure
    if control != VERSION:
        raise ConfigurationError(
            (
                f"release {release} speaks control {control} to its rooms, the one that runs speaks {VERSION}: it cannot take over "
                "while that one serves; stop it and start the other",
            )
        )
    if problems:
        raise ConfigurationError(problems)
    status, said = await _asked(python, "check", "--json", "--offline", "--config", str(config))
    try:
        found = [each for each in json.loads(said) if each["severity"] == "error"]
        problems = tuple(f"{each['where']}: {each['what']}; {each['mend']}" for each in found)
    except (ValueError, KeyError, TypeError) as failure:
        raise ConfigurationError((f"release {release}: `gatebook check` fails (exit code {status})",)) from failure
    if problems:
        raise ConfigurationError(problems)
    return release


async def _asked(python: str, *arguments: str) -> tuple[int, str]:
    """`gatebook ARGUMENTS` of that release: exit code and standard output. Raises ConfigurationError."""
    try:
        process = await asyncio.create_subprocess_exec(
            python,
            "-P",
            "-m",
            "gatebook",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            env={**os.environ, "COLUMNS": "200"},
        )
    except OSError as failure:
        raise ConfigurationError((f"{python}: {failure.strerror}",)) from failure
    try:
        async with asyncio.timeout(ANSWER_S):
            said, _ = await process.communicate()
    except TimeoutError as late:
        process.kill()
        await process.wait()
        raise ConfigurationError((f"{python}: `gatebook {arguments[0]}` did not end within {ANSWER_S:g} s",)) from late
    return process.returncode or 0, said.decode("utf-8", "replace")
