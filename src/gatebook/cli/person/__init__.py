"""The command line as a named person: it logs in at a desk as any MCP client does, keeps what it was given, and asks the desk with it.

`logins` is the file where tokens lie, `asking` one HTTP request, `discovery` finds a desk, `by_browser` logs in, `tokens` gives a token that is
still good, `api` asks the desk.
"""
