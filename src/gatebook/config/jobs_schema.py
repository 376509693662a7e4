"""The keys of `[[workload]]` and `[[job]]`: which jobs may come."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from gatebook.config import values
from gatebook.config.kinds import Name, Path, Text
from gatebook.config.table import Table, setting
from gatebook.model.deployment import Issuer as IssuerModel
from gatebook.model.workload import RegisteredJob


class Workload(Table):
    """An issuer of job tokens (a CI system, a cluster), and which of its jobs may exchange them at the desk for access tokens."""

    name: Name = setting("What roles call it (`issuer` of a match). Lower-case letters, digits, `-`.")
    preset: Literal["github", "gitlab", "kubernetes", "generic"] = setting(
        "Whose claims to expect: what names a run and the human behind it, what a match must bind, what may start a job.",
        "generic",
    )
    url: Annotated[str, AfterValidator(values.issuer_url)] | None = setting(
        "The issuer exactly as it stands in `iss`, to the last slash.",
        None,
        by_default="`github`: `https://token.actions.githubusercontent.com`; `gitlab`: `https://gitlab.com`; else required",
    )
    audience: Text | None = setting(
        "The exact `aud` that its tokens must hold, and nothing beside it.", None, by_default="`desk.public_url`"
    )
    match: list[dict[str, Text]] = setting(
        'Which jobs may come: claim → value, every claim of one of these tables. Values and claims are strings (`"true"`, ids too); nothing else '
        "equals them. For `kubernetes` the claims are `namespace`, `serviceaccount`, `serviceaccount_uid`, `pod`, `pod_uid`.",
        min_length=1,
    )
    events: list[Text] | None = setting(
        "What may have started a job (GitHub `event_name`, GitLab `pipeline_source`). `pull_request` and its like let outsiders start one.",
        None,
        by_default="`github`: `push`, `release`, `schedule`, `workflow_dispatch`; `gitlab`: `push`, `schedule`, `web`",
        min_length=1,
    )
    owner: Text | None = setting(
        "Who answers for a job behind which its token names no human; recorded as `acting_for`.",
        None,
        by_default="such jobs are refused; required for `kubernetes` and `generic`",
    )
    algorithms: list[Annotated[str, AfterValidator(values.algorithm)]] = setting(
        "Signature algorithms accepted from it.",
        list(IssuerModel(name="", url="", kind="job").algorithms),
        min_length=1,
    )
    jwks_file: Path | None = setting(
        "File with its public keys (JWK Set), instead of discovery: for clusters that the desk cannot reach.",
        None,
        by_default="discovery",
    )
    ca_file: Path | None = setting(
        "PEM file: the authorities that may vouch for its host, instead of the system's.",
        None,
        by_default="the system's",
    )
    leeway_s: int = setting("Tolerance for clocks that differ, on `exp`, `nbf` and `iat`. Seconds.", 60, ge=0, le=300)


class Job(Table):
    """A job that proves itself with a key of its own (`private_key_jwt`): cron, Jenkins. Roles call its issuer `gatebook`, and it the `subject`."""

    name: Name = setting("Its `client_id`, and the subject in roles and records. Lower-case letters, digits, `-`.")
    owner: Text = setting("Who answers for it; recorded as `acting_for`.")
    public_key: Path = setting(
        "File with its public key: PEM (then `kid` is the job's name), or a JWK Set. Re-read when it changes."
    )
    algorithms: list[Annotated[str, AfterValidator(values.algorithm)]] = setting(
        "Signature algorithms accepted from it.",
        list(RegisteredJob(name="", owner="", public_key="").algorithms),
        min_length=1,
    )
