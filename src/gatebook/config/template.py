"""The gatebook.toml that `gatebook init` writes: every section explained, nothing granted. Lines that begin with `#` and a letter or `[`
are examples: they are the file's own syntax once the `#` is gone (a test takes it away and loads the result)."""

import json
from pathlib import Path

from gatebook.model.deployment import Profile


def template(
    profile: Profile, public_url: str | None, origin: str | None, data_dir: Path | None = None, *, users: bool = False
) -> str:
    """The file's text. `public_url` and `origin` may be absent in dev only, where they have defaults. `data_dir`: `data` beside the file, where it is
    not given; `users`: each room has one, by the names of `gatebook units`."""
    dev = profile == "dev"
    data = "data" if data_dir is None else str(data_dir.absolute())
    off = "" if users else "#"
    return f'''\
# Gatebook: who may do what on which MCP server. `gatebook check` tells every problem of this file and of the machine.
# Every key, with unit and default: docs/reference/configuration.md. Relative paths count from this file's directory.

# "pci": nothing that protects can be turned off. "dev": http, loopback issuers and literal secrets are allowed, and it is said loudly.
profile = "{profile}"

# Scheme, host and port as clients see them: a plain string, without a slash at its end.
{_setting("public_url", public_url, "http://127.0.0.1:8080")}

# Where the gate listens: HOST:PORT, [IPV6]:PORT or unix:/path.
listen = {'["127.0.0.1:8080"]' if dev else '["0.0.0.0:8443", "[::]:8443"]'}

# Processes that serve calls; one per core is right.
workers = 2

# Records, log and recordings. Its own disk, for this deployment's user only.
data_dir = {json.dumps(data)}

# The gate's certificate (PEM, leaf first) and key. Read again when the files change.
{"#" if dev else ""}tls = {{ certificate = "cert.pem", key = "key.pem" }}

# Web origins whose pages may call, and proxies whose word on a call's origin is believed.
allowed_origins = []
trusted_proxies = []

[log]
# The log's name in every checkpoint, for ever. Its key is keys/log.skey under data_dir; who verifies needs log.vkey, kept elsewhere.
{_setting("origin", origin, "localhost/dev")}

[payloads]
# Recordings are encrypted to this key. The private half opens every one of them: it belongs on another machine.
public_key = {json.dumps(f"{data}/payloads.pub")}

# A user of the system for each room, so that a flaw in one cannot reach the others' files. docs/howto/install.md
{off}[users]
{off}supervisor = "gatebook"
{off}gate = "gatebook-gate"
{off}sealer = "gatebook-sealer"
{off}desk = "gatebook-desk"
{off}runner = "gatebook-runner"
{off}meter = "gatebook-meter"

[limits]
# Bounds per worker; these are the defaults of some.
# request_bytes = 1048576
# response_bytes = 16777216
# drain_s = 30

# --- Where people log in: the desk as an authorization server for MCP clients ---------------------------------------------------

# With this nobody pastes a token: clients log in here, people at their identity provider. docs/howto/login.md
#[desk]
#listen = ["127.0.0.1:8444"]
#public_url = "https://login.mcp.example.com"
#tls = {{ certificate = "cert.pem", key = "key.pem" }}

# Its callback there: public_url of the desk + /login/oidc/NAME/callback. preset: okta, entra, google, keycloak, auth0 or generic.
#[[idp]]
#name = "okta"
#preset = "okta"
#url = "https://example.okta.com"
#client_id = "0oa1example"
#client_secret = "env:OKTA_CLIENT_SECRET"
#mfa = {{ amr = ["mfa", "otp", "hwk"] }}

# A client that is known beforehand. Claude Code and Visual Studio Code need none.
#[[client]]
#client_id = "inspector"
#name = "MCP Inspector"
#redirect_uris = ["http://localhost/oauth/callback"]

# --- Who may come: identity providers -------------------------------------------------------------------------------------------

# People. `url` is the token's `iss`, to the last slash; keys are found by OIDC discovery, or stand in jwks_file.
#[[issuer]]
#name = "corp"
#url = "https://idp.example.com/realms/corp"
#kind = "person"
#token_type = "jwt"
#groups_claim = "groups"

# Jobs: a CI system that issues tokens to its runs.
#[[issuer]]
#name = "ci"
#url = "https://token.actions.githubusercontent.com"
#kind = "job"

# --- What is protected: MCP servers ---------------------------------------------------------------------------------------------

# Served at public_url/payments/mcp. Callers never see the credential; `secret` says where it lies: file:PATH or env:NAME.
# A token must be meant for this one server: its `aud` is the server's own URL, unless `audience` says otherwise per issuer.
#[[server]]
#name = "payments"
#url = "https://payments.internal:9000/mcp"
#credential = {{ header = "Authorization", value = "Bearer {{secret}}", secret = "file:/run/secrets/payments" }}
#record = "masked"
#card_numbers = "refuse"

# Exceptions per tool: this one takes card numbers, and of its calls only the shape is kept.
#[[server.tool]]
#match = ["pay_*"]
#record = "shape"
#card_numbers = "allow"

# --- Who may do what: what no role grants is denied -----------------------------------------------------------------------------

# Give each role only what its holders need: name the tools, and let `*` cover only what may grow without harm.
#[[role]]
#name = "support"
#match = [{{ issuer = "corp", group = "support" }}, {{ issuer = "okta", group = "support" }}]
#allow = [{{ server = "payments", tools = ["get_order", "list_*"], resources = ["orders://*"] }}]

# A job is known by what cannot be renamed or chosen by whoever starts it.
#[[role]]
#name = "nightly-report"
#match = [{{ issuer = "ci", claims = {{ repository_id = "123456", ref_protected = "true" }} }}]
#allow = [{{ server = "payments", tools = ["list_orders"] }}]
'''


def _setting(name: str, value: str | None, default: str) -> str:
    """The line of a key; the default as an example where no value was given."""
    return f"{name} = {json.dumps(value)}" if value is not None else f"#{name} = {json.dumps(default)}"
