"""Taking over what exists: the servers that clients keep in files of their own become tables of gatebook.toml, their secrets files of their own.

`jsonc` reads a client's file, `clients` knows whose it is and what an entry means, `spotting` what looks like a secret, `proposing` makes
a table of an entry, `journal` writes all of it so that it can be undone. `probing` asks a server what it offers, `tiers` guesses what that
may do, `roles` writes the role, `scanning` finds what was left behind.
"""
