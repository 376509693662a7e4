"""The book: what an entry is in bytes, how entries become a Merkle log that others can check, and how we check it ourselves.

Pure: no file is opened here and no clock read. The order to read: `entry` (a leaf), `framing` (how a writer stores it),
`scribe` (numbers, sessions, sealed payloads), `merkle`, `tiles`, `note`, `checkpoint` (the log, C2SP tlog-tiles), `reading`, `verification`.
"""
