"""`[[idp]]`: what one comes to, and what would let the wrong people in."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from gatebook.config import idps_schema, lifecycle, schema, values
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read
from gatebook.config.saml import kind_problems, saml_side
from gatebook.config.secret_references import secret_reference
from gatebook.federation.presets import PRESETS
from gatebook.model.deployment import Evidences, IdentityProvider, SharedMarks


def idp_of(idp: idps_schema.Idp, directory: Path) -> IdentityProvider:
    return IdentityProvider(
        name=idp.name,
        url=idp.url,
        saml=saml_side(idp, directory),
        preset=idp.preset,
        client_id=idp.client_id or "",
        client_secret=secret_reference(idp.client_secret, directory) if idp.client_secret else None,
        groups_claim=idp.groups_claim,
        scopes=tuple(idp.scopes or PRESETS[idp.preset].scopes),
        scopes_written=idp.scopes is not None,
        algorithms=tuple(idp.algorithms),
        mfa=Evidences(amr=tuple(idp.mfa.amr), acr=tuple(idp.mfa.acr), declared=idp.mfa.declared),
        domain=idp.domain,
        shared=SharedMarks(
            names=tuple(idp.shared.names), groups=tuple(idp.shared.groups), claims=dict(idp.shared.claims)
        ),
        ca_file=str(directory / idp.ca_file) if idp.ca_file else None,
        leeway_s=idp.leeway_s,
    )


def problems(read: Read, file: schema.File) -> Iterator[Problem]:
    pci = file.profile == "pci"
    urls: set[str] = set()
    for number, idp in enumerate(file.idp):
        where = read.where("idp", number, "url")
        if idp.url in urls:
            yield error(where, "is the url of another idp too", "keep one of them")
        urls.add(idp.url)
        yield from kind_problems(read, idp, number, pci=pci)
        if idp.kind == "oidc" and not idp.url.startswith("https://"):
            if pci:
                yield error(where, "is not https", "the pci profile accepts https providers only")
            elif not values.is_loopback(urlsplit(idp.url).hostname or ""):
                yield error(where, "is not https", "only a provider on this machine may be http")
        if idp.client_secret is not None and idp.client_secret.startswith(values.LITERAL):
            make = error if pci else warning
            mend = "put it into a file of its own and write file:PATH, or env:NAME; then replace the secret: it stood in a file"
            yield make(
                read.where("idp", number, "client_secret"), "the secret itself stands in the configuration", mend
            )
        yield from lifecycle.of_idp(read, idp, number)
        if idp.kind == "oidc" and idp.preset == "google" and idp.domain is None:
            what = "is missing: without it every Google account in the world could log in"
            yield error(read.where("idp", number, "domain"), what, 'write domain = "example.com"')
        if idp.preset == "entra" and any(part in idp.url for part in ("/common", "/organizations", "/consumers")):
            yield error(where, "lets every tenant in", "write the issuer of your tenant, with its id")
