"""The tables. Times are seconds since the epoch (float); hashes are SHA-256 in hex; no code, token or browser secret stands here in clear.

logins ─┬─ grants ── turns        a login, what clients got of it, and their refresh tokens
        └─ codes                  authorization codes, each of one login
transactions                      requests under way, sealed with the browser's secret
consents, clients, seen           what was agreed to; who registered; what may come once only (jti, assertion ids)
"""

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

transactions = Table(
    "transactions",
    metadata,
    Column("handle_hash", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("idp", String(63)),
    Column("expires_at", Float, nullable=False, index=True),
)

logins = Table(
    "logins",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("idp", String(63), nullable=False),
    Column("seen", Text, nullable=False),  # records.LoggedIn as JSON: groups and evidence as they were at login
    Column("browser_hash", String(64), nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("revoked_at", Float),
    Column(
        "upstream", LargeBinary
    ),  # envelope (federation.envelope) of the provider's refresh token, with which it is asked again; gone when the login is over
    Index("logins_person", "issuer", "subject"),
)

grants = Table(
    "grants",
    metadata,
    Column("sid", String(32), primary_key=True),
    Column("login_id", String(32), ForeignKey("logins.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("client_id", Text, nullable=False, index=True),
    Column("client_name", Text, nullable=False),
    Column("server", String(63), nullable=False, index=True),
    Column("resource", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("revoked_at", Float, index=True),
    Column("revoked_why", String(63)),
)

turns = Table(
    "turns",
    metadata,
    Column("sid", String(32), ForeignKey("grants.sid", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("token_hash", String(64), nullable=False),
    Column("used_at", Float),
)

codes = Table(
    "codes",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("login_id", String(32), ForeignKey("logins.id", ondelete="CASCADE"), nullable=False),
    Column("client_id", Text, nullable=False),
    Column("client_name", Text, nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("server", String(63), nullable=False),
    Column("resource", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("code_challenge", String(64), nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Column("grant_sid", String(32)),
)

consents = Table(
    "consents",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("client_id", Text, primary_key=True),
    Column("server", String(63), primary_key=True),
    Column("what", String(64), nullable=False),
    Column("given_at", Float, nullable=False),
)

clients = Table(
    "clients",
    metadata,
    Column("client_id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("redirect_uris", Text, nullable=False),  # a JSON list
    Column("created_at", Float, nullable=False, index=True),
    Column("used_at", Float),
)

seen = Table(
    "seen",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("value_hash", String(64), primary_key=True),
    Column("expires_at", Float, nullable=False, index=True),
)
