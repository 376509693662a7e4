"""The parts of `check` that have a file of their own. Each looks at one thing, and gives its problems."""
