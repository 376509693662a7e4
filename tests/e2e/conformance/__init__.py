"""The MCP conformance suite, run against a server directly and through the gate.

A gate is right when nothing that passes direct is lost behind it. The server is the Python SDK's "everything" server,
which passes all scenarios of the four revisions that the suite has for Streamable HTTP; `baseline.json` holds them.
"""
