"""Where a secret lies, as the file says it."""

from pathlib import Path

from gatebook.model.deployment import SecretReference


def secret_reference(text: str, directory: Path) -> SecretReference:
    """The reference in `text` (`file:PATH`, `env:NAME`, `credential:NAME`, `literal:VALUE`), which `values.secret` has accepted; a file's path absolute."""
    scheme, _, locator = text.partition(":")
    match scheme:
        case "file":
            return SecretReference(scheme="file", locator=str(directory / locator))
        case "env":
            return SecretReference(scheme="env", locator=locator)
        case "credential":
            return SecretReference(scheme="credential", locator=locator)
        case _:
            return SecretReference(scheme="literal", locator=locator)
