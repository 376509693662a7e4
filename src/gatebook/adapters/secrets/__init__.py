"""Credentials: where the secrets of servers lie. `FileOrEnvironment` sends each reference to the source that its scheme names."""

from gatebook.adapters.secrets.by_scheme import FileOrEnvironment
from gatebook.adapters.secrets.environment import EnvironmentSecrets
from gatebook.adapters.secrets.file import FileSecrets

__all__ = ["EnvironmentSecrets", "FileOrEnvironment", "FileSecrets"]
