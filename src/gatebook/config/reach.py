"""Whether something listens there and may be believed: a connection is made and closed, and no byte of ours is sent on it but TLS's own."""

import socket
import ssl
from urllib.parse import urlsplit


def reach(
    url: str, ca_file: str | None, client_certificate: str | None, client_key: str | None, timeout_s: float
) -> str | None:
    """What keeps us from `url` (http, https or `unix:/socket:/path`), in words; None where a connection stood. Never raises for the network."""
    try:
        if url.startswith("unix:"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix:
                unix.settimeout(timeout_s)
                unix.connect(url.removeprefix("unix:").partition(":")[0])
            return None
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((host, port), timeout=timeout_s) as plain:
            if parts.scheme == "https":
                context = _context(ca_file, client_certificate, client_key)
                with context.wrap_socket(plain, server_hostname=host):
                    pass
        return None
    except ssl.SSLCertVerificationError as failure:
        return f"its certificate is not trusted: {failure.verify_message}"
    except ssl.SSLError as failure:
        return f"TLS fails: {failure.reason or 'handshake broken off'}"
    except TimeoutError:
        return f"no connection within {timeout_s:g} s"
    except socket.gaierror:
        return "its name cannot be resolved"
    except OSError as failure:
        return f"no connection: {failure.strerror or type(failure).__name__}"


def _context(ca_file: str | None, client_certificate: str | None, client_key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_certificate is not None:
        context.load_cert_chain(client_certificate, client_key, password=lambda: b"")
    return context
