"""Where fuzzing begins: words that mean something to a reader, and well-formed and hostile examples of what each reader reads."""

import json
from pathlib import Path

from gatebook.federation.saml.names import SAML, SAMLP, SUCCESS
from tests import issuing
from tests.ci_issuers import github_claims
from tests.fuzz import seeds_desk

VECTORS = Path(__file__).parents[1] / "vectors"

DICTIONARY: list[bytes] = [
    *seeds_desk.WORDS,
    *(json.dumps(word).encode() for word in (
        "jsonrpc", "2.0", "id", "method", "params", "result", "error", "code", "message", "_meta", "name", "arguments", "uri", "ref",
        "tools/call", "initialize", "isError", "resultType", "io.modelcontextprotocol/protocolVersion", "2026-07-28", "Method", "ID",
        "alg", "ES256", "none", "kid", "corp-0", "typ", "at+jwt", "crit", "jwk", "aud", "iss", "sub", "exp", "iat", "nbf", "groups",
        "scope", "amr", "act", "cnf", "keys", "kty", "EC", "RSA", "OKP", "crv", "P-256", "x", "y", "n", "e", "use", "sig", "d",
        "repository_id", "1001", "repository_owner_id", "17", "ref", "refs/heads/main", "ref_protected", "true", "event_name", "push", "jti", "actor_id", "run_id",
        "cvv", "card", "pan", "pin", "track2", "name", "value", "columns", "rows", "data", "blob", "mimeType",
    )),
    b"\\u0000", b"\\ud800", b"\\udc00", b"\\u006d", b"\\\"", b"\\\\", b"1e400", b"-0", b"1E5", b"1.5", b"true", b"null", b"NaN", b"[[", b"]]",
    b"{}", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc5\xbf", b"\xe2\x84\xaa", b"\xff", b"\xc2\xa0", b"\xe2\x80\x8b", b"\xef\xbc\x94", b"\xd9\xa4",
    b"data: ", b"id: ", b"event: ", b"retry: ", b"\r\n\r\n", b"\n\n", b"\r\r", b": ", b"\r\n",
    b"POST /payments/mcp HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"Host: x\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n",
    b"5\r\nhello\r\n", b"0\r\n\r\n", b";x=y\r\n", b"PRI * HTTP/2.0\r\n\r\n", b"\x0b", b"\x0c", b"\t",
    b"authorization", b"Bearer ", b"access_token=", b"content-type", b"application/json", b"charset=utf-16", b"mcp-method", b"mcp-name",
    b"mcp-param-x", b"mcp-protocol-version", b"=?base64?", b"?=", b"Z2V0X29yZGVy", b"cache-control", b"public", b"accept", b"*/*", b";q=0",
    b"%2e", b"%2f", b"..", b"/./", b"\\", b"**", b"*", b"://", b"file:///",
    b"4111111111111111", b"4111 1111 1111 1111", b"3782-822463-10005", b"5555555555554444", b"cvv: 123", b";4111111111111111=29122010000000000?",
    b"411111******1111", b"[cvv removed]", b"cvv", b"card ", b"pin", b"up+stream/secret=8c1f&41", b"dXArc3RyZWFtL3NlY3JldD04YzFmJjQx", b"id,cvv\\n1,123\\n",
    b"\x00", b"\x01", b"\x02", b"e+15", b".", b"-", b"_", b"^", b"=",
]  # fmt: skip

CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_order","arguments":{"id":"42"}}}'
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"fine"}],"isError":false}}'
_MODERN = CALL.replace(b'"name"', b'"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"},"name"')
_MIRRORS = b"mcp-protocol-version: 2026-07-28\nmcp-method: tools/call\nmcp-name: get_order\n\n"
_SIGNED = (
    '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>'
    '<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>'
    '<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><ds:Reference URI="#{id}"><ds:Transforms>'
    '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>'
    '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms>'
    '<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue>AAAA</ds:DigestValue></ds:Reference>'
    "</ds:SignedInfo><ds:SignatureValue>AAAA</ds:SignatureValue></ds:Signature>"
)
_SAML = [
    (
        f'<samlp:Response xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID="_r" Version="2.0">{_SIGNED.format(id="_r") if whole else ""}'
        f'<samlp:Status><samlp:StatusCode Value="{SUCCESS}"/></samlp:Status><saml:Assertion ID="_a"><saml:Issuer>i</saml:Issuer>'
        f"{_SIGNED.format(id='_a') if part else ''}<saml:Subject><saml:NameID>a&amp;b&#x20;c</saml:NameID></saml:Subject></saml:Assertion></samlp:Response>"
    ).encode()
    for whole, part in ((True, False), (False, True), (True, True), (False, False))
]
_HEAD = b"POST /payments/mcp HTTP/1.1\r\nHost: x\r\n"


def _client_vectors() -> list[bytes]:
    cases = json.loads((VECTORS / "wire" / "client_messages.json").read_text())
    return [bytes.fromhex(case["hex"]) if "hex" in case else case["text"].encode() for case in cases]


def _masking_vectors() -> list[bytes]:
    texts = json.loads((VECTORS / "masking" / "texts.json").read_text())
    return [json.dumps([case["text"]], ensure_ascii=False).encode() for case in texts][::3]


def seeds(target: str) -> list[bytes]:
    """Examples for one target; fuzzing has to begin somewhere near."""
    issuer = issuing.Issuer()
    now = issuing.NOW_S
    job = {
        **github_claims(),
        "iss": "https://ci.example",
        "aud": "https://login.example",
        "jti": "1",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
    }
    assertion = {name: job[name] for name in ("iss", "aud", "jti", "iat", "exp")} | {
        "sub": job["iss"],
        "run_id": "cron-1",
    }
    if target in seeds_desk.SEEDS:
        return seeds_desk.SEEDS[target]
    header, claims = json.dumps(issuer.header()), json.dumps(issuer.claims(groups=["a"], scope="x y", amr=["mfa"]))
    return {
        "client_message": [CALL, b"[" + CALL + b"]", *_client_vectors()],
        "server_message": [RESULT, b"[" + RESULT + b"]", b'{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"x"}}'],
        "event_stream": [b"\x40\x80\xc0\0data: {}\nid: 7\n\n: c\n\n", b"\xff\0\0\0event: x\r\ndata: a\r\ndata: b\r\n\r\n", b"\0\0\0\0data: x\r\r"],
        "headers": [b"authorization: Bearer abc\nconnection: close, x\naccept: text/*;q=0.0, */*", b"cache-control: public, max-age=5"],
        "mirrored_headers": [_MIRRORS + _MODERN, b"mcp-name: =?base64?Z2V0X29yZGVy?=\nmcp-param-a: x\n\n" + _MODERN],
        "names": [b"orders://a/../b", b"list_*\nlist_x", b"file:///%2e%2e/x"],
        "token_text": [issuer.token().encode()[:200], b"e30.e30.", b"a.b.c"],
        "signed_token": [header.encode() + b"\0" + claims.encode()],
        "key_set": [json.dumps(issuer.jwks()).encode(), b'{"keys":[]}'],
        "masked_document": [RESULT, *_masking_vectors()],
        "masked_text": [json.loads(vector)[0].encode() for vector in _masking_vectors()],
        "planted": [bytes([kind, card, gap, gap * 17 % 256, kind * 43 % 256]) + b"note\x01{}" for kind in range(4) for card in range(6) for gap in range(0, 8, 3)],
        "http_requests": [
            b"\x40\x80\xc0\0" + _HEAD + b"Content-Length: 5\r\n\r\nhello" + _HEAD + b"\r\n",
            b"\xff\0\0\0" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nT: 1\r\n\r\n" + _HEAD + b"\r\n",
        ],
        "saml_response": [*_SAML, *(each.replace(b"<saml:Assertion", b"<!-- --><saml:Assertion") for each in _SAML), b'<?xml version="1.0" encoding="UTF-8"?>' + _SAML[0]],
        "job_token": [json.dumps(job | changed).encode() for changed in ({}, {"ref_protected": True}, {"actor": "x[bot]"}, {"aud": ["https://login.example"]})],
        "job_assertion": [json.dumps(assertion | changed).encode() for changed in ({}, {"aud": ["https://login.example/oauth/token"]}, {"exp": now + 3600})],
        "stretched": [bytes([door]) + b"\x02".join(parts) for door in range(8) for parts in ((b"[", b"4111 ", b"]"), (b'{"a":', b"[", b""), (b"a: ", b"b, ", b"\n"))],
    }[target]  # fmt: skip
