"""What crosses a running gate, byte for byte: what the conformance suite does not ask.

One gate of two workers for all of these tests; in front of it bare connections, behind it a server that keeps every byte it gets and answers with
whatever bytes a test gives it. The table is docs/conformance.md.
"""
