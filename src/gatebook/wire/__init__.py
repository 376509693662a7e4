"""Bytes ⇄ messages, sans-IO: strict JSON-RPC, the table of MCP methods, the revisions as data, SSE, headers.

Nothing here reads, waits or knows the time. Everything that is fed foreign bytes raises `Malformed` and nothing else.

strict_json   one JSON text that every parser reads alike
jsonrpc       client messages (strict) and server envelopes (fast)
revisions     the protocol's revisions, and which one a message is written in
methods       what each method is, who sends it when, and what it reaches for
mirrored      the headers that repeat the body (2026-07-28)
headers       which headers cross the gate, either way
sse           event streams, split and rewritten
build         the few messages the gate makes itself
"""
