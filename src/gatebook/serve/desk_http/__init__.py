"""The desk's HTTP side: an OAuth 2.1 authorization server for MCP clients, whose people log in at their identity provider.

One login, in the order of its files: `metadata` (where everything is), `clients` (who asks), `authorize` (what for), `login` (to the provider and
back; by SAML `saml_asking` and `saml`), `consenting` (may it?), `tokens` (code and refresh token → access token; revocation), `jobs` (a job's own token or key).
`machine` is Authlib's state machine with our store and rules, `for_authlib` what it is shown, `book` what is written down of it all, `world` what
they share, `answers` how pages look, `refusing` what a refused person is told, `own` the page "how I am seen", `rereading` asks a provider
again, `ending` ends grants. `app` puts the routes together, `authority` listens and tells the gate what was revoked.

The rule of this package: nothing leaves before its entry is durable. A handler therefore collects what happened, records it, then answers.
"""
