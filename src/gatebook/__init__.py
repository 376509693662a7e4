"""Gatebook: the identity-aware gate in front of MCP servers, and the book kept at that gate."""

__version__ = "0.1.0"
