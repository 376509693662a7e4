"""What we say to a provider: the request that sends a browser there, and our metadata.

Requests go by HTTP-Redirect (SAML bindings §3.4), answers come by HTTP-POST alone: nothing of a stranger is ever inflated here.
"""

import base64
import zlib
from datetime import UTC, datetime
from urllib.parse import urlencode
from xml.sax.saxutils import escape, quoteattr

from gatebook.federation.saml import names as n
from gatebook.model.deployment import IdentityProvider

PREFIX = "/login/saml"


def acs_url(desk_url: str, idp: str) -> str:
    """Where the provider's answers are posted to: the assertion consumer service."""
    return f"{desk_url}{PREFIX}/{idp}/acs"


def entity_id(desk_url: str, idp: str) -> str:
    """Our name towards this provider, and where our metadata lies."""
    return f"{desk_url}{PREFIX}/{idp}/metadata"


def request(
    idp: IdentityProvider,
    *,
    desk_url: str,
    sso_url: str,
    request_id: str,
    now_s: float,
    fresh: bool = False,
    classes: tuple[str, ...] = (),
) -> str:
    """The AuthnRequest (SAML core §3.4.1), as XML. `fresh`: the person must prove anew who they are. `classes`: in a way that
    is one of these AuthnContextClassRefs (§3.3.2.2.1, exact)."""
    policy = ""
    if idp.saml is not None and idp.saml.name_id is not None:
        wanted = {"persistent": n.PERSISTENT, "unspecified": n.UNSPECIFIED}[idp.saml.name_id]
        policy = f'<samlp:NameIDPolicy Format="{wanted}" AllowCreate="true"/>'
    # In the schema's sequence (saml-schema-protocol-2.0.xsd, AuthnRequestType): NameIDPolicy, Conditions, RequestedAuthnContext.
    named = "".join(f"<saml:AuthnContextClassRef>{escape(each)}</saml:AuthnContextClassRef>" for each in classes)
    context = f'<samlp:RequestedAuthnContext Comparison="exact">{named}</samlp:RequestedAuthnContext>' if named else ""
    anew = ' ForceAuthn="true"' if fresh else ""
    issued = datetime.fromtimestamp(int(now_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f'<samlp:AuthnRequest xmlns:samlp="{n.SAMLP}" xmlns:saml="{n.SAML}" ID={quoteattr(request_id)} Version="2.0"'
        f' IssueInstant="{issued}" Destination={quoteattr(sso_url)} ProtocolBinding="{n.HTTP_POST}"'
        f" AssertionConsumerServiceURL={quoteattr(acs_url(desk_url, idp.name))}{anew}>"
        f"<saml:Issuer>{escape(entity_id(desk_url, idp.name))}</saml:Issuer>{policy}{context}</samlp:AuthnRequest>"
    )


def query(xml: str, relay_state: str, *, signed: bool) -> str:
    """The redirect's query without a signature; with `signed`, the very string that is to be signed (SAML bindings §3.4.4.1)."""
    squeezed = zlib.compressobj(wbits=-15)
    message = base64.b64encode(squeezed.compress(xml.encode()) + squeezed.flush()).decode("ascii")
    fields = {"SAMLRequest": message, "RelayState": relay_state} | ({"SigAlg": n.RSA_SHA256} if signed else {})
    return urlencode(fields)


def with_signature(signed: str, signature: bytes) -> str:
    return f"{signed}&{urlencode({'Signature': base64.b64encode(signature).decode('ascii')})}"


def metadata(idp: IdentityProvider, *, desk_url: str, certificate: str | None) -> str:
    """Our metadata towards this provider (SAML metadata §2.4.4). `certificate`: base64 of DER, where we have one."""
    keys = ""
    if certificate is not None:
        info = f'<ds:KeyInfo xmlns:ds="{n.DS}"><ds:X509Data><ds:X509Certificate>{escape(certificate)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>'
        ciphers = "".join(f'<md:EncryptionMethod Algorithm="{name}"/>' for name in sorted(n.GCM, reverse=True))
        keys = (
            f'<md:KeyDescriptor use="signing">{info}</md:KeyDescriptor>'
            f'<md:KeyDescriptor use="encryption">{info}{ciphers}</md:KeyDescriptor>'
        )
    formats = "".join(f"<md:NameIDFormat>{name}</md:NameIDFormat>" for name in (n.PERSISTENT, n.UNSPECIFIED))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<md:EntityDescriptor xmlns:md="{n.MD}" entityID={quoteattr(entity_id(desk_url, idp.name))}>'
        f'<md:SPSSODescriptor AuthnRequestsSigned="{str(certificate is not None).lower()}" WantAssertionsSigned="true"'
        f' protocolSupportEnumeration="{n.SAMLP}">{keys}{formats}'
        f'<md:AssertionConsumerService Binding="{n.HTTP_POST}" Location={quoteattr(acs_url(desk_url, idp.name))}'
        f' index="0" isDefault="true"/></md:SPSSODescriptor></md:EntityDescriptor>\n'
    )
