"""What ties a login to the one browser that began it.

Each browser holds a secret of 256 bits in a cookie. From it and the handle of one request follow, by HMAC, the `state`, the `nonce` and the
PKCE verifier sent to the provider, the form's CSRF token, and the key under which the request itself is stored. So the store holds
nothing with which somebody else could go on, and a callback in another browser opens nothing (login CSRF, confused deputy).
"""

import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = b"\0" * 12
"""One key seals one message: it is derived from a handle that is used once."""


def state_of(browser: str, handle: str, idp: str) -> str:
    """The `state` that goes to the provider: the handle, and proof of the browser and of the provider that was asked."""
    return f"{handle}.{_derived(browser, handle, f'state:{idp}')}"


def handle_of(state: str) -> str:
    """The handle in a `state` that has come back; nothing is proven yet."""
    return state.partition(".")[0]


def is_of_browser(state: str, browser: str, idp: str) -> bool:
    """Whether `state` was made for this browser and this provider."""
    return same(state_of(browser, handle_of(state), idp), state)


def nonce_of(browser: str, handle: str, idp: str) -> str:
    return _derived(browser, handle, f"nonce:{idp}")


def verifier_of(browser: str, handle: str, idp: str) -> str:
    """The PKCE verifier towards the provider, 43 characters (RFC 7636 §4.1)."""
    return _derived(browser, handle, f"pkce:{idp}")


def request_id_of(browser: str, handle: str, idp: str) -> str:
    """The ID of the SAML request sent to the provider, which its answer must bear as InResponseTo. An XML name: it begins with `_`."""
    return f"_{_derived(browser, handle, f'saml:{idp}')}"


def challenge_of(verifier: str) -> str:
    """S256, RFC 7636 §4.2."""
    return _text(hashlib.sha256(verifier.encode("ascii")).digest())


def form_token(session: str, handle: str) -> str:
    """What a form of this session's page about this request must bring back."""
    return _derived(session, handle, "form")


def same(one: str, other: str) -> bool:
    """Compared in time that tells nothing."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def seal(browser: str, handle: str, plain: bytes) -> bytes:
    """`plain` as it may be stored: AES-256-GCM under a key of this browser and handle, bound to the handle."""
    return AESGCM(_key(browser, handle)).encrypt(_NONCE, plain, handle.encode())


def unseal(browser: str, handle: str, sealed: bytes) -> bytes | None:
    """What was sealed for this browser and handle; None where it was not."""
    try:
        return AESGCM(_key(browser, handle)).decrypt(_NONCE, sealed, handle.encode("utf-8", "surrogatepass"))
    except InvalidTag:
        return None


def _key(browser: str, handle: str) -> bytes:
    return hmac.digest(
        browser.encode("utf-8", "surrogatepass"), b"seal\0" + handle.encode("utf-8", "surrogatepass"), "sha256"
    )


def _derived(browser: str, handle: str, what: str) -> str:
    message = f"{what}\0{handle}".encode("utf-8", "surrogatepass")
    return _text(hmac.digest(browser.encode("utf-8", "surrogatepass"), message, "sha256"))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
