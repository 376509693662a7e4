"""Where fuzzing of what the desk reads begins."""

import base64
import json

from gatebook.federation import refreshing
from gatebook.federation.saml import names as n
from tests.fuzz.desk import CLIENT_URL, ENTITY, IDPS, TENANT, certificate

WORDS: list[bytes] = [
    *(json.dumps(word).encode() for word in (
        "client_id", CLIENT_URL, "client_name", "redirect_uris", "http://127.0.0.1/callback", "cursor://anysphere.cursor-mcp/oauth/callback",
        "token_endpoint_auth_method", "client_secret", "grant_types", "authorization_code", "response_types", "none",
        "oid", "tid", TENANT, "hd", "example.com", "email", "email_verified", "preferred_username", "otp", "loa3", "hasgroups", "_claim_names",
        "idtyp", "app", "gty", "00u1alice",
    )),
    b"http://127.0.0.1", b"http://localhost", b"http://[::1]", b"https://", b"cursor://", b"vscode://", b":7777", b":0", b"@", b"@evil.example",
    b"#", b"?", b"[", b"]", b"javascript:", b"//", b"%25", b"%5c", b"/callback",
    b"client_id=", b"&", b"redirect_uri=", b"resource=", b"scope=", b"mcp:payments", b"code_challenge=", b"grant_type=", b"subject_token=", b"+",
    b"subject_token_type=urn:ietf:params:oauth:token-type:jwt", b"client_assertion=", b"gbr1.", b".0.",
    b"EntityDescriptor", b"IDPSSODescriptor", b"KeyDescriptor", b"SingleSignOnService", b"Binding=", b"Location=", b"entityID=", b"<!DOCTYPE x>",
]  # fmt: skip

_CLIENT = {
    "client_name": "A program",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "token_endpoint_auth_method": "none",
}
_PERSON = {
    "sub": "00u1alice", "oid": "o-1", "tid": TENANT, "hd": "example.com", "email": "alice@example.com", "email_verified": True,
    "groups": ["support"], "amr": ["pwd", "otp"], "acr": "loa3", "auth_time": 1_795_000_000,
}  # fmt: skip
_THIN = {name: value for name, value in _PERSON.items() if name != "groups"}
_URIS = [
    "http://127.0.0.1/callback\nhttp://127.0.0.1:51234/callback",
    "https://app.example:8443/a?b=c\nhttps://app.example:8443/a?b=c",
    "cursor://anysphere.cursor-mcp/oauth/callback\ncursor://anysphere.cursor-mcp/oauth/callback",
    "http://[::1]:1/\nhttp://[::1]:2/",
    "https://app.example/cb\nhttps://u@app.example/cb",
]
_PARAMETERS = [
    b"response_type=code&client_id=x&redirect_uri=http%3A%2F%2F127.0.0.1%2F&scope=mcp%3Apayments&state=a+b",
    b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=a.b.c"
    b"&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&resource=https%3A%2F%2Fgate.example%2Fx%2Fmcp",
    b"client_assertion=a.b.c&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&resource=r",
    b"a=1&a=2",
    b"a=1&%61=2",
    b"a;b=1",
    b"",
]


def _metadata(descriptor: str, key: str) -> bytes:
    return (
        f'<md:EntityDescriptor xmlns:md="{n.MD}" entityID="{ENTITY}"><!-- x --><md:IDPSSODescriptor protocolSupportEnumeration="{n.SAMLP}">'
        f'<md:KeyDescriptor{descriptor}><ds:KeyInfo xmlns:ds="{n.DS}"><ds:X509Data><ds:X509Certificate>{key}</ds:X509Certificate></ds:X509Data>'
        f'</ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService Binding="{n.HTTP_REDIRECT}" Location="https://idp.example/sso"/>'
        "</md:IDPSSODescriptor></md:EntityDescriptor>"
    ).encode()


_KEY = base64.b64encode(certificate()).decode()

SEEDS: dict[str, list[bytes]] = {
    "client_document": [
        json.dumps({"client_id": CLIENT_URL, **_CLIENT, **changed}).encode()
        for changed in ({}, {"client_name": "<b>\u202ex"}, {"redirect_uris": ["https://app.example/cb", "vscode://x/y"]}, {"client_secret": "s"})
    ],
    "client_registration": [
        json.dumps({**_CLIENT, **changed}).encode()
        for changed in ({}, {"redirect_uris": ["https://claude.ai/api/mcp/auth_callback"]}, {"grant_types": ["implicit"]})
    ],
    "redirect_uris": [pair.encode() for pair in _URIS],
    "parameters": _PARAMETERS,
    "refresh_token": [refreshing.token_of(b"k" * 32, "0" * 32, 7).encode(), b"gbr1.", bytes(8)],
    "person_claims": [
        bytes([place]) + json.dumps(claims).encode() + more
        for place in range(len(IDPS))
        for claims, more in ((_PERSON, b""), (_THIN, b"\0" + json.dumps({"sub": "00u1alice", "groups": ["support"]}).encode()))
    ],
    "provider_metadata": [
        _metadata(' use="signing"', _KEY),
        _metadata("", _KEY),
        f'<md:EntitiesDescriptor xmlns:md="{n.MD}">'.encode() + _metadata("", _KEY) + b"</md:EntitiesDescriptor>",
        b"\xff" + certificate(),
    ],
}  # fmt: skip
