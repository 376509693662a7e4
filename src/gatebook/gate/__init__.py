"""The gate: the way of one message, as one straight function over ports.

Read `exchange.py` first; it is the story. It calls, in this order:

    doors.py        what is served without a caller: health, metadata, preflight
    identifying.py  who asks: Caller
    asking.py       what is asked: Question (parsed, inspected)
    authorizing.py  may it pass: Permitted
    drafting.py     what goes into the book at each step
    forwarding.py   what the server receives
    answering.py    the server's answer, read to its end, as a body or as a stream
    releasing.py    what the server says, message by message: inspected, recorded, then released
    refusal.py      one table: reason → status, code, words

Each stage takes the value that only the stage before can make: nothing is sent without a `Receipt`, nothing answered without a
`Recorded`, and only a ledger makes those.
"""
