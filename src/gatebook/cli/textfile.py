"""What `gatebook verify` found, as numbers for the textfile collector of Prometheus' node exporter."""

from pathlib import Path

from gatebook.durable import replace_file

_TEXT = """# HELP gatebook_verification_intact 1 where `gatebook verify` found the log intact; 0 where it is broken or could not be judged.
# TYPE gatebook_verification_intact gauge
gatebook_verification_intact {intact}
# HELP gatebook_verification_timestamp_seconds When that was.
# TYPE gatebook_verification_timestamp_seconds gauge
gatebook_verification_timestamp_seconds {now_s}
# HELP gatebook_verification_entries Entries that were verified.
# TYPE gatebook_verification_entries gauge
gatebook_verification_entries {entries}
"""


def write(path: Path, *, intact: bool, entries: int, now_s: int) -> None:
    """`path` holds these numbers, whole at any moment. Raises OSError."""
    replace_file(path, _TEXT.format(intact=int(intact), now_s=now_s, entries=entries).encode(), mode=0o644)
