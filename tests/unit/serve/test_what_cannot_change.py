"""What a running deployment cannot change is named as the operator's file names it."""

import msgspec
import pytest

from gatebook.config import schema
from gatebook.model.deployment import Deployment
from gatebook.model.errors import ConfigurationError
from gatebook.serve.activation import _FIXED, require_same_place
from tests.world import deployment


def test_a_change_of_place_is_refused_under_the_names_of_the_file() -> None:
    new = msgspec.structs.replace(deployment(), origin="other", log_key="/elsewhere")
    require_same_place(deployment(), deployment())
    with pytest.raises(ConfigurationError) as refused:
        require_same_place(deployment(), new)
    assert refused.value.problems == (
        "log.origin: cannot change while running; stop and start to change it",
        "log.key: cannot change while running; stop and start to change it",
    )


def test_every_name_is_a_field_of_a_deployment_and_a_key_of_the_file() -> None:
    assert set(_FIXED) <= set(Deployment.__struct_fields__)
    tables = {"log": schema.Log, "payloads": schema.Payloads, "tls": schema.Tls}
    for where in _FIXED.values():
        table, _, key = where.rpartition(".")
        assert key in (tables[table] if table else schema.File).model_fields, where
