"""Logging in elsewhere and being known here: what the desk decides as an authorization server. Pure: no I/O, no clock, no chance.

Read in this order: `records` (the nouns), `binding` (what ties a login to one browser), `presets` and `people` (an ID token's claims → a
person, or why not), `redirects`, `known` and `documents` (which client this is, and where its users may return to), `consent`, `scopes`,
`refreshing` (the rule of rotation), `minting` (the access token). `saml` is the same for assertions instead of ID tokens.
`addresses` says where the desk may fetch from at all. `ports` is what
all this needs of the world; the desk's HTTP side (`serve.desk_http`) is the only caller.
"""
