"""The runner: servers that are commands. It starts them, speaks stdio to them and streamable HTTP to the gate, over a Unix socket for each.

The path of a message: `endpoint` (HTTP) → `talk` (which line is whose; pure) → `process` (stdio) and back. `sandbox` says how a program is
started, `launching` starts it, `keeper` decides which process serves whom, `runner` is the room.
"""
