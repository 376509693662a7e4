"""Real MCP clients, each started as a process of its own: the SDKs people use, and the Inspector's command line."""
