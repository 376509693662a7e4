"""Whose jobs may come to the authorization server: those of a CI system or a cluster, and those registered with a key of their own."""

from typing import Literal

import msgspec

WorkloadPreset = Literal["github", "gitlab", "kubernetes", "generic"]


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer of job tokens, and which of its jobs may exchange them. `url` compares exactly. `match`: sets of claims, one of which must
    hold in full, as strings. `events`: what may have started a job, where the preset knows (GitHub, GitLab). `owner`: who answers for a job
    behind which its issuer names no human; None: such a job is refused."""

    name: str
    url: str
    preset: WorkloadPreset
    audience: str
    match: tuple[dict[str, str], ...]
    events: tuple[str, ...] = ()
    owner: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256", "PS256", "EdDSA")
    jwks_file: str | None = None
    ca_file: str | None = None
    leeway_s: int = 60


class RegisteredJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that proves itself with a key of its own (private_key_jwt). `public_key`: path of its PEM or JWK Set; `owner`: who answers for it."""

    name: str
    owner: str
    public_key: str
    algorithms: tuple[str, ...] = ("ES256", "EdDSA", "PS256", "RS256")
