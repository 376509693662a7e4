"""A registered job's key file as a KeySource: PEM becomes a set, a changed file has another mark, and nothing else gets in."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gatebook.adapters.keys_file import KeyFiles
from gatebook.adapters.keys_registered import RegisteredKeys
from gatebook.identity.errors import KeySetRefused
from gatebook.model.deployment import Issuer
from tests.issuing import private_key, public_jwk


def pem(label: str) -> bytes:
    public = private_key("ES256", label).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


async def test_a_pem_is_read_and_a_new_one_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "nightly.pem"
    issuer = Issuer(name="job:nightly", url="nightly", kind="job", jwks_file=str(path))
    source = RegisteredKeys(KeyFiles())
    path.write_bytes(pem("old"))
    mark = source.mark(issuer)
    [key] = json.loads(await source.fetch(issuer))["keys"]
    assert (key["kid"], key["x"]) == ("nightly", public_jwk(private_key("ES256", "old"), "")["x"])
    (tmp_path / "new").write_bytes(pem("new"))
    (tmp_path / "new").rename(path)
    assert source.mark(issuer) != mark
    [key] = json.loads(await source.fetch(issuer))["keys"]
    assert key["x"] == public_jwk(private_key("ES256", "new"), "")["x"]


async def test_a_file_that_is_gone_or_holds_something_else_is_told_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "nightly.pem"
    issuer = Issuer(name="job:nightly", url="nightly", kind="job", jwks_file=str(path))
    with pytest.raises(KeySetRefused, match=r"nightly\.pem"):
        await RegisteredKeys(KeyFiles()).fetch(issuer)
    path.write_bytes(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(KeySetRefused, match=r"nightly\.pem: is no public key"):
        await RegisteredKeys(KeyFiles()).fetch(issuer)
