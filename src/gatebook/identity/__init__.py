"""Credential + keys + instant → Principal. Pure: no I/O, no clock, no asyncio; what is believed here is believed everywhere.

Read in this order: `bearer` (where the token is), `tokens` (the numbered verification), `claims` (what a verified token says),
`own` and `own_jobs` (the same for
tokens of our own authorization server), `cache` (the same answer, cheaper). `keysets` is the life of an issuer's public keys as a state machine that the desk drives;
`challenge` is what a client without a usable token is told. `errors` holds the two ways to say no.
"""
