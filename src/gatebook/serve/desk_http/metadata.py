"""Where everything is (RFC 8414), and the keys that verify. The issuer is a plain string, the same bytes everywhere."""

from starlette.requests import Request
from starlette.responses import Response

from gatebook.federation.exchanging import CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from gatebook.federation.scopes import scope_of
from gatebook.serve.desk_http import answers
from gatebook.serve.desk_http.world import DeskWorld


def document(world: DeskWorld) -> dict[str, object]:
    """RFC 8414 §2. What is not offered is not named."""
    base = world.issuer
    found: dict[str, object] = {
        "issuer": base,
        "authorization_endpoint": f"{base}/oauth/authorize",
        "token_endpoint": f"{base}/oauth/token",
        "revocation_endpoint": f"{base}/oauth/revoke",
        "jwks_uri": f"{base}/oauth/jwks",
        "scopes_supported": [scope_of(server) for server in world.deployment.servers],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
    }
    grants, methods = found["grant_types_supported"], found["token_endpoint_auth_methods_supported"]
    assert isinstance(grants, list) and isinstance(methods, list)
    if world.deployment.workloads:
        grants.append(TOKEN_EXCHANGE)
    if world.deployment.jobs:
        grants.append(CLIENT_CREDENTIALS)
        methods.append("private_key_jwt")
        algorithms = {name for job in world.deployment.jobs for name in job.algorithms}
        found["token_endpoint_auth_signing_alg_values_supported"] = sorted(algorithms)
    if world.desk.registration:
        found["registration_endpoint"] = f"{base}/oauth/register"
    return found


async def metadata(_request: Request, world: DeskWorld) -> Response:
    return answers.json(document(world), public=True)


async def jwks(_request: Request, world: DeskWorld) -> Response:
    headers = {**answers.SAFE, "Cache-Control": "max-age=300", "Access-Control-Allow-Origin": "*"}
    return Response(world.keys.verifying, 200, headers, media_type="application/jwk-set+json")
