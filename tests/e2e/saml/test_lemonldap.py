"""The login by SAML at a second, independent provider: LemonLDAP::NG."""

import json
from pathlib import Path

import pytest

from tests.e2e.desk.test_login import claims_of
from tests.e2e.saml.conftest import SamlPlace
from tests.e2e.saml.lemonldap import entity, lemonldap, missing

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]


async def test_the_python_sdk_logs_in_at_lemonldap_and_calls_a_tool(ground: SamlPlace, tmp_path: Path) -> None:
    """It takes our metadata as they are, demands signed requests, and signs the response."""
    ours = ground.here.http.get(f"{ground.here.issuer}/login/saml/lemon/metadata").text
    with lemonldap(tmp_path, ground.lemon, saml=ours):
        browser = ground.browser("dwho", idp="lemon")
        client = ground.here.client(browser)
        result = await client.call("payments", "get_order", order_id="ord_5001")
    assert "ord_5001" in json.dumps(result)
    tokens = client.kept["payments"].tokens
    assert tokens is not None
    claims = claims_of(tokens.access_token)
    assert claims["idp"] == {"iss": entity(ground.lemon), "sub": "dwho"}
    assert claims["groups"] == ["timelords"], "each group is a value of its own"
