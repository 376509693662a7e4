"""Who the client is when proxies stand before us. Pure."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gatebook.model.http import Headers

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_HOPS = 32


def networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks written as CIDR or single addresses. Raises ValueError where one is neither."""
    return tuple(ip_network(text) for text in texts)


def address(text: str) -> Address | None:
    """The address, IPv4-mapped ones as IPv4; None where `text` is none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def trusts(trusted: tuple[Network, ...], candidate: Address) -> bool:
    """Whether `candidate` lies in one of the networks."""
    return any(candidate.version == network.version and candidate in network for network in trusted)


def client_address(peer: str, headers: Headers, trusted: tuple[Network, ...]) -> str:
    """The right-most address of X-Forwarded-For that is no trusted proxy. `peer` must be one already.

    The peer itself where the header is absent, repeats, or holds anything but addresses up to the one that counts: a client can
    write what it likes to the left of that, and no more. All trusted: the left-most.
    """
    lists = [value for name, value in headers if name == b"x-forwarded-for"]
    if len(lists) != 1:
        return peer
    hops = lists[0].split(b",")
    if len(hops) > _HOPS:
        hops = hops[-_HOPS:]
    found: Address | None = None
    for hop in reversed(hops):
        found = address(hop.strip().decode("latin-1"))
        if found is None:
            return peer
        if not trusts(trusted, found):
            break
    return peer if found is None else str(found)
