"""Programs that the bench starts under other interpreters than its own; none imports anything of ours."""
