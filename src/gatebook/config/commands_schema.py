"""The keys of servers that are commands: how one is run, and what all of them may take together."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from gatebook.config import values
from gatebook.config.kinds import Path
from gatebook.config.table import Table, setting
from gatebook.model.deployment import Command as CommandModel
from gatebook.model.deployment import Runner as RunnerModel

_RUN = CommandModel(argv=())
Variable = Annotated[str, AfterValidator(values.variable)]
Argument = Annotated[str, AfterValidator(values.argument)]
SecretText = Annotated[str, AfterValidator(values.secret)]


class Run(Table):
    """How a server that is a command is run. Nothing of Gatebook's own environment reaches it but what stands here."""

    directory: Path | None = setting(
        "Its working directory, which it may read. Without a sandbox it may read what this user may.",
        None,
        by_default="an empty one of its own",
    )
    environment: dict[Variable, Argument] = setting(
        "Variables in clear. Secrets belong under `secrets`.", {}, by_default="none"
    )
    secrets: dict[Variable, SecretText] = setting(
        "Variable → where its secret lies (`file:PATH`, `env:NAME`; `literal:VALUE` only in `dev`). Read again for each process.",
        {},
        by_default="none",
    )
    secret_files: dict[Variable, SecretText] = setting(
        "Variable → where a secret lies that the server wants as a file: the variable holds the path of one that this process alone sees.",
        {},
        by_default="none",
    )
    processes: Literal["session", "shared"] = setting(
        "`session`: a process for each session (2026-07-28: for each caller). `shared`: one for everybody; it learns of nobody who calls.",
        "session",
    )
    network: bool = setting("Whether it may use the network.", False)
    writable: list[Path] = setting("Paths that it may write.", [])
    sandbox: Literal["required", "available"] | None = setting(
        "`required`: without bubblewrap it is not started. `available`: where that cannot be used it runs with its limits alone, and `check` says so.",
        None,
        by_default="`required` in `pci`, `available` in `dev`",
    )
    memory_bytes: int = setting(
        "Memory that one of its processes may have for data, and its `/tmp` for files. Bytes.",
        _RUN.memory_bytes,
        ge=16 << 20,
        le=1 << 40,
    )
    cpu_s: int = setting("Processor time after which one is ended. Seconds.", _RUN.cpu_s, ge=1, le=31_536_000)
    files: int = setting("Files that one may have open. Count.", _RUN.files, ge=16, le=1 << 20)
    tasks: int = setting(
        "Processes and threads in its sandbox; without one, all that this user may have. The kernel counts none of root's. Count.",
        _RUN.tasks,
        ge=1,
        le=1 << 20,
    )
    start_s: float = setting("Time until it must have answered its first message. Seconds.", _RUN.start_s, gt=0, le=600)
    idle_s: float = setting(
        "Time without a call after which a process is ended. Seconds.", _RUN.idle_s, ge=1, le=604_800
    )


class Runner(Table):
    """What all servers that are commands may take together."""

    processes: int = setting(
        "Processes at once, over all servers. A session that would need one more is refused. Count.",
        RunnerModel().processes,
        ge=1,
        le=10_000,
    )
