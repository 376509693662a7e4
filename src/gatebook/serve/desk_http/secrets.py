"""Our own secrets at the identity providers, as they are now."""

from gatebook.federation.errors import ProviderFailed
from gatebook.model.deployment import IdentityProvider
from gatebook.model.errors import UpstreamError
from gatebook.model.secret import Secret
from gatebook.serve.desk_http.world import DeskWorld


def client_secret(world: DeskWorld, idp: IdentityProvider) -> Secret[bytes] | None:
    """None for a public client. Raises ProviderFailed where it is configured and cannot be had."""
    if idp.client_secret is None:
        return None
    try:
        return world.credentials.resolve(idp.client_secret)
    except UpstreamError as failure:
        raise ProviderFailed(f"idp {idp.name}: client_secret: {failure.words}") from failure
