"""What a table of gatebook.toml is made of; `schema` and its parts say which there are."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict


def setting(description: str, default: Any = ..., *, by_default: str | None = None, **constraints: Any) -> Any:
    """One key: its sentence, its default, and `by_default`: the default in words where it depends on other keys."""
    extra: JsonDict | None = {"by_default": by_default} if by_default else None
    if isinstance(default, (list, dict)):
        return Field(
            default_factory=lambda: type(default)(default),
            description=description,
            json_schema_extra=extra,
            **constraints,
        )
    return Field(default, description=description, json_schema_extra=extra, **constraints)


class Table(BaseModel):
    """A table of the file. Unknown keys are refused; nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
