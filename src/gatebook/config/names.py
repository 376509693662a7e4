"""Which hosts a certificate is for."""

import ipaddress

from cryptography import x509


def certificates(pem: bytes) -> list[x509.Certificate]:
    """The certificates in `pem`, leaf first. Raises ValueError."""
    return x509.load_pem_x509_certificates(pem)


def certificate_covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether the subject alternative names of `certificate` cover `host` (RFC 9525: `*` is one whole leftmost label)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        pass
    wanted = host.lower().rstrip(".")
    _, _, parent = wanted.partition(".")
    allowed = {name.lower().rstrip(".") for name in names.get_values_for_type(x509.DNSName)}
    return wanted in allowed or (bool(parent) and f"*.{parent}" in allowed)
