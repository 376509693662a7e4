"""A registered job's public key file becomes a key set; a private key in it is refused."""

import json

import pytest
from cryptography.hazmat.primitives import serialization

from gatebook.federation.registered_keys import key_set_of
from gatebook.identity.errors import KeySetRefused
from gatebook.identity.keysets import acceptable_key_set
from tests.issuing import private_key, public_jwk


def pem(algorithm: str) -> bytes:
    return (
        private_key(algorithm)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA", "ES384"])
def test_a_pem_is_one_key_under_the_jobs_name(algorithm: str) -> None:
    found = key_set_of(pem(algorithm), "nightly")
    acceptable_key_set(found)
    [key] = json.loads(found)["keys"]
    expected = public_jwk(private_key(algorithm), "nightly")
    assert {name: key[name] for name in expected} == expected
    assert "d" not in key


def test_a_key_set_stays_as_it_is() -> None:
    raw = json.dumps({"keys": [public_jwk(private_key("ES256"), "2026-11")]}).encode()
    assert key_set_of(raw, "nightly") == raw


def test_what_is_no_public_key_is_refused_without_a_byte_of_it() -> None:
    private = private_key("ES256").private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for raw in (
        private,
        pem("ES256") + private,
        pem("ES256") * 2,
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ):
        with pytest.raises(KeySetRefused) as refused:
            key_set_of(raw, "nightly")
        assert raw.split(b"\n")[1].decode() not in str(refused.value)
