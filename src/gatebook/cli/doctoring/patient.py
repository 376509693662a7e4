"""What the doctor looks at, and as whom."""

import os
import pwd
from pathlib import Path

import msgspec

from gatebook.config.load import Examined
from gatebook.model.deployment import Deployment


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment, as its configuration describes it. `now_s`: the time, seconds since the epoch."""

    examined: Examined
    deployment: Deployment
    now_s: float

    @property
    def data_dir(self) -> Path:
        return Path(self.deployment.data_dir)

    @property
    def config(self) -> str:
        """The options that name this deployment on a command line."""
        return f"--config {self.examined.path}"

    @property
    def visible(self) -> bool:
        """Whether this user may look into the data directory."""
        return os.access(self.data_dir, os.R_OK | os.X_OK, effective_ids=True)

    @property
    def owner(self) -> str:
        """Who can see all of it, by name where he has one: the data directory's owner, or root where it is several users'."""
        if self.deployment.users is not None:
            return "root"
        try:
            return pwd.getpwuid(self.data_dir.stat().st_uid).pw_name
        except (OSError, KeyError):
            return "OWNER"
