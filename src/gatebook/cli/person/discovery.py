"""Where a desk's endpoints are (RFC 8414), and which desk a server belongs to (RFC 9728). Strings compare exactly, as the gate and the desk
write them."""

from urllib.parse import urlsplit

import msgspec

from gatebook.cli.person.asking import ask, demand_safe
from gatebook.cli.person.errors import Unreachable


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """A desk, by its own word. `url` is its issuer identifier."""

    url: str
    authorize: str
    token: str
    revoke: str

    @property
    def api(self) -> str:
        return f"{self.url}/api"


def desk_at(url: str) -> Desk:
    """The desk whose public URL this is. Raises PersonError, Unreachable."""
    url = demand_safe(url.rstrip("/"), "the desk")
    answer = ask("GET", f"{url}/.well-known/oauth-authorization-server")
    found = {name: answer.document.get(f"{name}_endpoint") for name in ("authorization", "token", "revocation")}
    if answer.status != 200 or not answer.document:
        raise Unreachable(f"{url} is no desk: it answered {answer.status} where its metadata should be")
    if answer.document.get("issuer") != url:
        raise Unreachable(f"{url} calls itself otherwise in its metadata: use its public_url, to the letter")
    # A desk's endpoints lie below it: a document that points elsewhere would have codes and tokens sent there.
    if not all(isinstance(each, str) and each.startswith(f"{url}/") for each in found.values()):
        raise Unreachable(f"the metadata of {url} names endpoints that are not its own")
    return Desk(
        url=url, authorize=str(found["authorization"]), token=str(found["token"]), revoke=str(found["revocation"])
    )


def desk_of(resource: str) -> str:
    """The URL of the desk that gives tokens for the server at `resource`. Raises PersonError, Unreachable."""
    demand_safe(resource, "the server")
    parts = urlsplit(resource)
    answer = ask("GET", f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}")
    desks = answer.document.get("authorization_servers")
    if answer.status != 200 or not isinstance(desks, list):
        raise Unreachable(f"{resource} does not say where to log in: is it the URL of a server behind Gatebook?")
    if answer.document.get("resource") != resource:
        raise Unreachable(f"{resource} is called otherwise by its gate: use the server's URL, to the letter")
    if len(desks) != 1 or not isinstance(desks[0], str):
        raise Unreachable(f"{resource} has no desk of its own: its people bring tokens of their provider")
    return desks[0]
