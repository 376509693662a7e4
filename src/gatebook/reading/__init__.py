"""The sealed log as people ask for it: a search, one call's account, the sessions, one session again. The command line reads files with it,
the desk answers people with it, and both show the same.

`book` walks, `selection` says which entries a search wants, `account` tells one call, `rulings` the rule behind it, `sessions` counts, `playback`
plays a session again. What is here reads and decides nothing about who may read: whoever calls it has recorded the reading first or will before
anything is shown.
"""
