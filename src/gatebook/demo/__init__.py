"""The demonstration: a payments MCP server, two identity providers and Gatebook between them, all on this machine.

Nothing here is for production, and nothing in the gate imports it. `start` puts the pieces together, `tour` plays a checked story
on them; `payments` and `idp` are the two programs that stand in for a company's own. Only `payments`, `idp` and `tour` need the
extra `demo` of pyproject.toml (the MCP Python SDK), and only while they run.
"""
