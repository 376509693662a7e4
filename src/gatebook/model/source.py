"""What counts as one place to come from."""

from ipaddress import IPv6Address, IPv6Network, ip_address


def source_of(ip: str) -> str:
    """An IPv4 address, and of IPv6 the /64 in which the address lies, since whoever has one of these has them all. What is no address is itself."""
    try:
        found = ip_address(ip)
    except ValueError:
        return ip
    if not isinstance(found, IPv6Address) or found.ipv4_mapped is not None:
        return ip
    return str(IPv6Network((int(found), 64), strict=False))
