"""Metrics without values: each room counts for itself, the supervisor gathers, and the meter, a room of its own, shows them to Prometheus.

`catalogue` names every metric, `reporting` makes a room's report of what it counted, `gathering` is the supervisor's part, `premises` looks at
disk, log and certificates for it, `rendering` writes the text, `meter` is the room. Why so: docs/adr/0017-a-room-that-only-counts.md
"""
