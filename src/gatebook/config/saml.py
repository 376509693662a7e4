"""`[[idp]]` of kind `saml`: what its keys must be together, what they mean, and what is wrong with the files they name."""

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic_core import PydanticCustomError

from gatebook.config import idps_schema, values
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.federation.saml.provider_metadata import (
    MIN_RSA_BITS,
    Known,
    MetadataRefused,
    read_certificates,
    read_metadata,
    usable,
)
from gatebook.model.deployment import Deployment, IdentityProvider, SamlSide

_OIDC_ONLY = ("client_id", "client_secret", "scopes", "domain", "groups_claim", "algorithms", "leeway_s")


def kind_problems(read: Read, idp: idps_schema.Idp, number: int, *, pci: bool) -> Iterator[Problem]:
    """What the keys of one `[[idp]]` must be together, by its kind."""

    def where(*keys: str) -> str:
        return read.where("idp", number, *keys)

    if idp.kind == "oidc":
        if idp.client_id is None:
            yield error(where("client_id"), "is missing", "write client_id = …")
        if idp.saml is not None:
            yield error(where("saml"), "stands in a provider of another kind", 'write kind = "saml", or remove it')
        try:
            values.issuer_url(idp.url)
        except PydanticCustomError as refused:
            context = refused.context or {}
            yield error(where("url"), str(context["what"]), str(context["mend"]))
        return
    for name in _OIDC_ONLY:
        if name in idp.model_fields_set:
            yield error(where(name), "has no effect in a provider of kind saml", "remove it")
    saml = idp.saml
    if saml is None:
        yield error(where("saml"), "is missing", 'write saml = { metadata = "…" }')
        return
    if saml.metadata is None and (saml.sso_url is None or not saml.certificates):
        yield error(
            where("saml"),
            "does not say where people log in and who signs",
            "give metadata, or sso_url and certificates",
        )
    if saml.metadata_url is not None and saml.metadata is None:
        yield error(where("saml", "metadata_url"), "has no file to be kept in", "give metadata, the file's path")
    if saml.sso_url is not None and not saml.sso_url.startswith("https://"):
        make = error if pci else warning
        yield make(where("saml", "sso_url"), "is not https", "write the provider's https URL")
    if (saml.certificate is None) != (saml.key is None):
        lone = "key" if saml.certificate is None else "certificate"
        yield error(where("saml", lone), "stands alone", "give key and certificate, or neither")


def saml_side(idp: idps_schema.Idp, directory: Path) -> SamlSide | None:
    if idp.kind != "saml" or idp.saml is None:
        return None

    def at(path: str | None) -> str | None:
        return None if path is None else str(directory / path)

    saml = idp.saml
    return SamlSide(
        metadata=at(saml.metadata),
        metadata_url=saml.metadata_url,
        sso_url=saml.sso_url,
        certificates=tuple(str(directory / path) for path in saml.certificates),
        subject=saml.subject,
        groups=saml.groups,
        name_id=saml.name_id,
        key=at(saml.key),
        certificate=at(saml.certificate),
    )


def saml_files(idp: IdentityProvider) -> Iterator[tuple[str, str | None]]:
    """(key, absolute path) of every file that a `saml` provider names."""
    if idp.saml is None:
        return
    for name in ("metadata", "key", "certificate"):
        yield f"idp {idp.name}: saml.{name}", getattr(idp.saml, name)
    for path in idp.saml.certificates:
        yield f"idp {idp.name}: saml.certificates", path


def known(idp: IdentityProvider, side: SamlSide) -> Known:
    """What the files say: where people log in, and whose signature is believed. Raises MetadataRefused, OSError."""
    said = read_metadata(Path(side.metadata).read_bytes(), idp.url) if side.metadata is not None else None
    listed = [der for path in side.certificates for der in read_certificates(Path(path).read_bytes())]
    sso_url = side.sso_url or (said.sso_url if said is not None else "")
    return Known(sso_url=sso_url, certificates=usable(listed or list(said.certificates if said is not None else ())))


def own_key(path: str) -> rsa.RSAPrivateKey:
    """Our private key in the file. Raises MetadataRefused, OSError."""
    try:
        key = load_pem_private_key(Path(path).read_bytes(), None)
    except (ValueError, TypeError) as failure:
        raise MetadataRefused("is no unencrypted private key in PEM") from failure
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < MIN_RSA_BITS:
        raise MetadataRefused(f"is no RSA key of {MIN_RSA_BITS} bits or more")
    return key


def saml_files_problems(deployment: Deployment, _probe: object) -> Iterator[Problem]:
    """Files of SAML providers that cannot be used, or will not much longer."""
    for idp in deployment.idps:
        if idp.saml is not None and all(Path(path).is_file() for _, path in saml_files(idp) if path is not None):
            yield from _file_problems(deployment, idp, idp.saml)


def _file_problems(deployment: Deployment, idp: IdentityProvider, side: SamlSide) -> Iterator[Problem]:
    where = f"idp {idp.name}: saml"
    try:
        found = known(idp, side)
    except MetadataRefused as refused:
        mend = "fetch the provider's metadata again and compare idp.url with its entityID"
        yield error(f"{where}.{'certificates' if side.certificates else 'metadata'}", f"the file {refused}", mend)
    except OSError as failure:
        yield error(where, f"a file cannot be read: {failure.strerror}", "make it readable for this deployment's user")
    else:
        if deployment.profile == "pci" and not found.sso_url.startswith("https://"):
            yield error(
                f"{where}.metadata", "its single sign-on service is not https", "fetch the provider's metadata again"
            )
        ends = [x509.load_der_x509_certificate(der).not_valid_after_utc for der in found.certificates]
        if max(ends) < datetime.now(UTC):
            what = "every signing certificate is past its date; logins go on, as the certificate was laid down by you"
            yield warning(f"{where}.metadata", what, "ask the provider for its new certificate")
    if side.key is None or side.certificate is None:
        return
    try:
        public = own_key(side.key).public_key().public_numbers()
        certified = x509.load_pem_x509_certificate(Path(side.certificate).read_bytes()).public_key()
    except (MetadataRefused, OSError, ValueError) as failure:
        what = f"the file {failure}" if isinstance(failure, MetadataRefused) else "the file cannot be read as PEM"
        yield error(f"{where}.key", what, "make them with: openssl req -x509 -newkey rsa:3072 -nodes")
        return
    if not isinstance(certified, rsa.RSAPublicKey) or certified.public_numbers() != public:
        yield error(f"{where}.certificate", "is not the certificate of saml.key", "give the two that belong together")
    if Path(side.key).stat().st_mode & stat.S_IROTH:
        make = error if deployment.profile == "pci" else warning
        yield make(f"{where}.key", f"{side.key} can be read by everybody", f"chmod 0600 {side.key}")
