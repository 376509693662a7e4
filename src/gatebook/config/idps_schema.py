"""The keys of `[[idp]]`: where people log in, and what is believed of that."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from gatebook.config import values
from gatebook.config.kinds import Name, Path, Text
from gatebook.config.table import Table, setting
from gatebook.model.deployment import Issuer as IssuerModel
from gatebook.model.deployment import SharedMarks as SharedModel


class Mfa(Table):
    """What of a login at this provider counts as multi-factor. Without any, nothing does."""

    amr: list[Text] = setting(
        "Values of `amr` (RFC 8176), in SAML of Entra ID's `authnmethodsreferences`, one of which is enough.", []
    )
    acr: list[Text] = setting("Values of `acr`, in SAML of AuthnContextClassRef, one of which is enough.", [])
    declared: bool = setting("The provider lets nobody in without it. Shown as declared, not as proven.", False)


class Shared(Table):
    """What tells that an account is not one person's: shared, system and service accounts."""

    names: list[Text] = setting(
        "What stands before the `@` of `email`, `preferred_username` or `upn`, in any case; `*` at the end for whatever follows.",
        list(SharedModel().names),
    )
    groups: list[Text] = setting("Groups of such accounts.", [])
    claims: dict[str, str] = setting('Claim → value, as in `match`; `{ is_shared = "true" }`.', {}, by_default="none")


class Saml(Table):
    """What is laid down of a provider of kind `saml`. Read when the gate starts and at SIGHUP; nothing is fetched meanwhile."""

    metadata: Path | None = setting(
        "File with its metadata (XML): where people log in, and its signing certificates, several while keys roll over.",
        None,
        by_default="`sso_url` and `certificates` say it",
    )
    metadata_url: Annotated[str, AfterValidator(values.https_url)] | None = setting(
        "Where `gatebook saml-metadata` fetches `metadata` when somebody types that command.", None, by_default="none"
    )
    sso_url: Annotated[str, AfterValidator(values.web_url)] | None = setting(
        "Its single sign-on service by HTTP-Redirect, instead of `metadata`.", None, by_default="as in `metadata`"
    )
    certificates: list[Path] = setting(
        "PEM files: its signing certificates, instead of those in `metadata`. Any of them is believed.",
        [],
        by_default="those in `metadata`",
    )
    subject: Text | None = setting(
        "The attribute that names a person for good, or `NameID`.",
        None,
        by_default="the preset's: Okta `id`, Entra ID its object id, else `NameID`",
    )
    groups: Text | None = setting(
        "The attribute that lists a person's groups, one value for each.",
        None,
        by_default="the preset's: `groups`, for Entra ID and Auth0 their URI",
    )
    name_id: Literal["persistent", "unspecified"] | None = setting(
        "The format of NameID that is asked for.", None, by_default="none is asked for"
    )
    key: Path | None = setting(
        "PEM file: our private key (RSA), mode 0600. With it requests are signed and encrypted assertions opened.",
        None,
        by_default="none: unsigned requests, no encryption",
    )
    certificate: Path | None = setting("PEM file: the certificate of `key`, for our metadata.", None, by_default="none")


class Idp(Table):
    """Where people log in, by OpenID Connect or SAML 2.0, when `[desk]` is an authorization server."""

    name: Name = setting("What roles call it (`issuer` of a match). Lower-case letters, digits, `-`.")
    kind: Literal["oidc", "saml"] = setting("The protocol: OpenID Connect, or SAML 2.0.", "oidc")
    preset: Literal["okta", "entra", "google", "keycloak", "auth0", "generic"] = setting(
        "Whose ways to expect: which claim names a person, how missing groups show, what is asked for.", "generic"
    )
    url: Annotated[str, AfterValidator(values.provider_id)] = setting(
        "Its issuer, exactly as its discovery document says, to the last slash; of a `saml` provider its entity id."
    )
    saml: Saml | None = setting(
        "What is known of a `saml` provider.", None, by_default="required where `kind` is `saml`"
    )
    client_id: Text | None = setting(
        "Gatebook's client id at this provider.", None, by_default="required where `kind` is `oidc`"
    )
    client_secret: Annotated[str, AfterValidator(values.secret)] | None = setting(
        "Where Gatebook's client secret lies: `file:PATH`, `credential:NAME` or `env:NAME`; `literal:VALUE` only in `dev`.",
        None,
        by_default="none: a public client, by PKCE alone",
    )
    groups_claim: Text = setting("The claim that lists a person's groups.", "groups")
    scopes: list[Text] | None = setting(
        "What is asked of it, exactly so.",
        None,
        by_default="the preset's: `openid profile email`, for Okta also `groups`, for all but Google and Keycloak also `offline_access`, less that where its discovery document lists scopes without it",
        min_length=1,
    )
    algorithms: list[Annotated[str, AfterValidator(values.algorithm)]] = setting(
        "Signature algorithms accepted for its ID tokens; what its discovery document offers is not asked.",
        list(IssuerModel(name="", url="", kind="person").algorithms),
        min_length=1,
    )
    mfa: Mfa = setting("What counts as multi-factor.", Mfa(), by_default="nothing does")
    shared: Shared = setting("Accounts that are not one person's.", Shared(), by_default="as its keys say")
    domain: Text | None = setting(
        "Google: the Workspace domain whose accounts may come; required there.", None, by_default="none"
    )
    ca_file: Path | None = setting(
        "PEM file: the authorities that may vouch for its host, instead of the system's.",
        None,
        by_default="the system's",
    )
    leeway_s: int = setting("Tolerance for clocks that differ, on `exp`, `nbf` and `iat`. Seconds.", 60, ge=0, le=300)
