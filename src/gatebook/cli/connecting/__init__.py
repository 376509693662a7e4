"""`gatebook connect`: a local stdio MCP server that is a server behind the gate.

`messages` is the pure part: one line → what to send with it. `bridge` carries lines to the gate and answers back, in both eras of the protocol.
`credentials` is where the token comes from: the person's login, a job's own token exchanged at the desk, or a variable.
"""
