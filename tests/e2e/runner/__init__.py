"""Servers that are commands: a real gate, its runner, and real programs that speak stdio."""
