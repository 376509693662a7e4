"""A deployment as `gatebook init` makes it, its log written by the real sealer, and the commands as a user types them."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from gatebook.adapters.log_files import LogFiles
from gatebook.cli.app import app
from gatebook.config import examine
from gatebook.ledger import payload, reading
from gatebook.ledger.entry import Entry
from gatebook.ledger.verification import verify
from gatebook.model.deployment import Deployment
from tests.world_ledger import Place, a_draft, write_and_seal


class Deployed:
    """`code`: the exit status that is meant; None: any."""

    def __init__(self, folder: Path, profile: str = "dev", more: str = "") -> None:
        self.folder, self.to = folder, folder.parent / "backups"
        self.config = folder / "gatebook.toml"
        self.type(
            "init", str(folder), "--profile", profile, "--origin", "localhost/test", "--public-url", "https://x.test"
        )
        if more:
            self.config.write_text(self.config.read_text() + more)

    def type(self, *words: str, code: int | None = 0) -> Result:
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert code is None or done.exit_code == code, done.output
        return done

    def backup(self, *more: str, code: int = 0) -> Any:
        return json.loads(self.type("backup", str(self.to), "-c", str(self.config), "--json", *more, code=code).output)

    def restore(self, *more: str, code: int = 0) -> Any:
        words = more if "--in-place" in more else (str(self.to), *more)
        done = self.type("restore", "-c", str(self.config), "--json", *words, code=code)
        return json.loads(done.output.splitlines()[-1])

    @property
    def deployment(self) -> Deployment:
        found = examine(self.config).deployment
        assert found is not None
        return found

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def place(self) -> Place:
        vkey = (self.data_dir / "log.vkey").read_text().strip()
        private = payload.load_private_key((self.folder / "payloads.key").read_text())
        return Place(self.deployment, self.data_dir, vkey, private)

    def write(self, *numbers: int) -> None:
        write_and_seal(self.place, [a_draft(number) for number in numbers])

    def entries(self, *events: str) -> list[Entry]:
        return [each.entry for each in reading.entries(LogFiles(self.data_dir / "log")) if each.entry.ev in events]

    def intact(self, folder: Path | None = None, **more: Any) -> None:
        where = folder or self.data_dir
        vkey = (where / "log.vkey").read_text().strip()
        assert verify(LogFiles(where / "log"), LogFiles(where / "payloads"), vkey, **more).problems == []
