"""Which addresses the desk may fetch a stranger's document from: public ones, and nothing that reaches this host or its network."""

import ipaddress

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")
_TEREDO = ipaddress.ip_network("2001::/32")
_NOT_GLOBAL = tuple(
    map(ipaddress.ip_network, ("fec0::/10", "3fff::/20", "5f00::/16", "192.0.0.0/24", "192.88.99.0/24"))
)
"""Of the special-purpose registries, what the library of some Python calls global. The first is site-local: deprecated, and still the network between a
virtual machine and its host."""


def is_public(address: str) -> bool:
    """Whether `address`, as a resolver gives it, is one of the public internet, also behind every mapping of IPv4 into IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False  # also with a zone: link-local
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found in _NAT64_LOCAL or found in _SIX_TO_FOUR or found in _TEREDO or int(found) < 1 << 32:
            return False
    if any(found in network for network in _NOT_GLOBAL if network.version == found.version):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved
