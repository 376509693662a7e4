"""The way to a SAML provider: our request, by HTTP-Redirect, signed where the operator has given us a key."""

from gatebook.federation import binding
from gatebook.federation.saml import asking
from gatebook.model.deployment import IdentityProvider
from gatebook.serve.desk_http.world import DeskWorld


def saml_url(
    world: DeskWorld, idp: IdentityProvider, browser: str, handle: str, *, fresh: bool, classes: tuple[str, ...] = ()
) -> str:
    """Where the browser goes to log in. The request's ID follows from the browser's secret; RelayState is the handle, and never an address. `fresh`: an old login at the provider will not do.
    `classes`: one of these must the login be of.
    Reads files: called in a thread. Raises ProviderFailed."""
    sso_url = world.assertions.known(idp).sso_url
    request_id = binding.request_id_of(browser, handle, idp.name)
    xml = asking.request(
        idp,
        desk_url=world.desk.public_url,
        sso_url=sso_url,
        request_id=request_id,
        now_s=world.now_s(),
        fresh=fresh,
        classes=classes,
    )
    query = asking.query(xml, handle, signed=True)
    signature = world.assertions.sign(idp, query)
    asked = asking.query(xml, handle, signed=False) if signature is None else asking.with_signature(query, signature)
    return f"{sso_url}{'&' if '?' in sso_url else '?'}{asked}"
