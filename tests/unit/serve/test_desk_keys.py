"""The set that verifies the desk's tokens: where it lies, and what is believed of what lies there."""

import json
import os
from pathlib import Path

import pytest

from gatebook.config import examine
from gatebook.federation import minting
from gatebook.model.deployment import Deployment
from gatebook.serve import keys

NOW_S = 1_000_000.0
CONFIG = """
profile = "dev"
listen = ["127.0.0.1:8470"]
[desk]
listen = ["127.0.0.1:8471"]
public_url = "http://127.0.0.1:8471"
[[idp]]
name = "corp"
url = "http://127.0.0.1:8472"
client_id = "gatebook"
client_secret = "env:NOT_ASKED_FOR"
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    """Read from a file, as one is in dev; its keys are not made yet."""
    config = tmp_path / "gatebook.toml"
    config.write_text(CONFIG)
    deployment = examine(config).deployment
    assert deployment is not None
    return deployment


def ids(key_set: bytes) -> list[str]:
    return [key["kid"] for key in json.loads(key_set)["keys"]]


def test_what_lies_where_an_earlier_build_had_it_is_brought_over_once(deployment: Deployment) -> None:
    desk, old = deployment.desk, Path(deployment.data_dir) / "desk.jwks"
    assert desk is not None
    before = minting.Minter.of(minting.new_key())
    old.parent.mkdir()
    old.write_bytes(before.public_keys())
    keys.make_missing(deployment)
    shown = ids(keys.published(desk) or b"{}")
    assert shown[1:] == [before.kid], "the tokens of then stay good until they are over"
    assert not old.exists()
    # What lies there later is not believed any more: a set may have been taken away on purpose.
    old.write_bytes(minting.Minter.of(minting.new_key()).public_keys())
    keys.make_missing(deployment)
    assert ids(keys.published(desk) or b"{}") == shown
    assert not old.exists()


def test_a_set_that_is_taken_away_does_not_come_back(deployment: Deployment) -> None:
    assert deployment.desk is not None
    stolen = minting.Minter.of(minting.new_key())
    keys.publish(deployment.desk, stolen.public_keys())
    (Path(deployment.data_dir) / "desk.jwks").write_bytes(stolen.public_keys())
    keys.unpublish(deployment)
    keys.make_missing(deployment)
    assert stolen.kid not in ids(keys.published(deployment.desk) or b"{}")


def test_what_is_no_plain_file_holds_no_key_and_is_replaced_not_followed(
    deployment: Deployment, tmp_path: Path
) -> None:
    desk = deployment.desk
    assert desk is not None
    keys.make_missing(deployment)
    path, elsewhere = Path(desk.public_keys), tmp_path / "elsewhere"
    elsewhere.write_bytes(minting.Minter.of(minting.new_key()).public_keys())
    was = elsewhere.read_bytes()
    path.unlink()
    path.symlink_to(elsewhere)
    assert keys.published(desk) is None
    minter, shown = keys.publish_desk_keys(desk, NOW_S)
    assert ids(shown) == [minter.kid]
    assert path.read_bytes() == shown and not path.is_symlink()
    assert elsewhere.read_bytes() == was
    path.unlink()
    os.mkfifo(path)
    assert keys.published(desk) is None, "and nobody waits for a writer"


def test_everybody_may_read_it_whatever_the_shell_masks(deployment: Deployment) -> None:
    before = os.umask(0o077)
    try:
        keys.make_missing(deployment)
    finally:
        os.umask(before)
    assert deployment.desk is not None
    assert Path(deployment.desk.public_keys).stat().st_mode & 0o777 == 0o644
