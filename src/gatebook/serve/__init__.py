"""Shells: the gate's HTTP side, the worker, the sealer's loop, the desk, and the supervisor over them. The world at the edges; no decisions."""
