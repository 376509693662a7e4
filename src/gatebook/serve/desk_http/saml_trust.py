"""Whose signatures are believed, and since when: a certificate that a provider signs with is as good as every one of its people."""

from gatebook.federation.errors import ProviderFailed
from gatebook.federation.saml.provider_metadata import Known, fingerprint
from gatebook.serve.desk_http import book
from gatebook.serve.desk_http.world import DeskWorld, in_thread
from gatebook.serve.diagnostics import say


async def tell_trusted(world: DeskWorld, before: dict[str, Known]) -> dict[str, Known]:
    """What is believed of each SAML provider from now on; what differs from `before` is in the book. A provider whose files cannot be used is said in
    diagnostics, and nobody logs in there. Raises LedgerUnavailable."""
    found: dict[str, Known] = {}
    for idp in world.deployment.idps:
        if idp.saml is None:
            continue
        try:
            found[idp.name] = await in_thread(world.assertions.known, idp)
        except ProviderFailed as failure:
            say("idp.unusable", idp=idp.name, why=str(failure))
    for name, known in found.items():
        if before.get(name) != known:
            certificates = tuple(fingerprint(der) for der in known.certificates)
            await world.ledger.record(book.trusted(name, certificates, known.sso_url))
    return found
