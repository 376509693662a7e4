"""Every metric: its name, kind, labels and one sentence. docs/reference/metrics.md is made from this file.

Labels hold names of the configuration (servers, issuers), rooms, and closed sets of words of our own (reasons, events, detectors). Never a
caller's value: no tool, no subject, no address, no id.
"""

import sys
from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]


class Family(msgspec.Struct, frozen=True):
    """`labels` without `room`, which stands before them where `by_room`; else the rooms' numbers are added up."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    by_room: bool = False


ALL: tuple[Family, ...] = (
    # calls
    Family("gatebook_receipts", "counter", ("server",), "Entries that were durable before something was sent to the server."),
    Family("gatebook_calls", "counter", ("server", "reason"), "Calls that ended, by the reason in their `call.result`: `completed`, `tool_error`, `upstream_timeout`, …"),
    Family("gatebook_refusals", "counter", ("server", "reason"), "Requests of known callers that were refused, by the reason in their `call.refused`."),
    Family("gatebook_authentication_failures", "counter", ("server", "reason"), "Requests of nobody we know. Repetitions are added when their window in the book ends, up to a minute later."),
    Family("gatebook_findings", "counter", ("server", "direction", "detector"), "Things that masking found: in what callers sent (`request`) or in what servers said (`answer`)."),
    Family("gatebook_own_seconds", "histogram", ("server",), "What Gatebook itself took of a request that a server answered, its commits included; of an event stream until it begins."),
    Family("gatebook_upstream_seconds", "histogram", ("server",), "What the server took: from sending until its answer was read, of an event stream until it begins."),
    Family("gatebook_tokens_verified", "counter", (), "Tokens whose signature was verified; others were remembered."),
    # workers
    Family("gatebook_worker_refusing", "gauge", (), "1 while this worker refuses every call: it drains, cannot write, nothing is sealed, or the disk is short.", by_room=True),
    Family("gatebook_requests_running", "gauge", (), "Requests being answered.", by_room=True),
    Family("gatebook_streams_open", "gauge", (), "Streams that end only with their reader.", by_room=True),
    Family("gatebook_connections", "gauge", (), "Client connections.", by_room=True),
    Family("gatebook_connections_accepted", "counter", (), "Client connections that were taken.", by_room=True),
    Family("gatebook_connections_turned_away", "counter", (), "Client connections closed at once because there were too many.", by_room=True),
    Family("gatebook_connections_given_up", "counter", (), "Quiet client connections closed for others because there were too many: of the address that had the most.", by_room=True),
    Family("gatebook_buffered_bytes", "gauge", (), "Bytes received, or waiting to be taken, over all connections.", by_room=True),
    Family("gatebook_clock_synchronised", "gauge", (), "1 where the clock is known to be synchronised.", by_room=True),
    Family("gatebook_clock_offset_seconds", "gauge", (), "The clock's offset from its source.", by_room=True),
    # the book
    Family("gatebook_entries", "counter", ("event",), "Entries made durable.", by_room=True),
    Family("gatebook_commit_seconds", "histogram", (), "Commits: writing a batch of entries and making it durable.", by_room=True),
    Family("gatebook_log_entries", "gauge", (), "Entries that have their place in the log."),
    Family("gatebook_log_signed_entries", "gauge", (), "Entries under the newest checkpoint."),
    Family("gatebook_log_broken_files", "gauge", (), "Files of the log that were not what was signed when the sealer last compared them, and recordings and segments that it met damaged; 0 is well."),
    Family("gatebook_sealer_behind_seconds", "gauge", (), "How long the oldest entry waited for its signature, at worst in the last seconds."),
    Family("gatebook_checkpoint_timestamp_seconds", "gauge", (), "When the newest checkpoint was written."),
    Family("gatebook_heartbeat_interval_seconds", "gauge", (), "`log.heartbeat_s`: without traffic a checkpoint comes this often."),
    Family("gatebook_sealing_overdue", "gauge", (), "1 while calls are refused because nothing has been sealed for too long."),
    # the desk
    Family("gatebook_logins", "counter", ("event", "reason"), "Logins of people: `login.completed`, `login.refused`."),
    Family("gatebook_tokens", "counter", ("event", "reason"), "Access tokens: `token.issued`, `token.refused`."),
    Family("gatebook_key_set_timestamp_seconds", "gauge", ("issuer",), "When the issuer's key set was last fetched. After a day its tokens are refused."),
    Family("gatebook_key_set_problem", "gauge", ("issuer",), "1 where the last fetch of the issuer's key set brought nothing."),
    # servers that are commands
    Family(
        "gatebook_commands_running", "gauge", ("server",), "Processes of this server that are alive."
    ),
    Family("gatebook_commands_limit", "gauge", (), "`runner.processes`: so many may be alive at once, over all servers."),
    Family("gatebook_commands_refused", "counter", (), "Processes that were refused because that many were alive."),
    Family("gatebook_command_starts", "counter", ("server",), "Processes of this server that were started."),
    Family("gatebook_command_failures", "counter", ("server",), "Starts of this server that failed."),
    # traces
    Family("gatebook_spans_sent", "counter", (), "Calls whose spans a collector has taken."),
    Family("gatebook_spans_dropped", "counter", (), "Calls whose spans were dropped: too many at once, or a collector that does not take them."),
    # the premises
    Family("gatebook_disk_free_bytes", "gauge", (), "Space that is left under `data_dir`."),
    Family("gatebook_disk_warn_below_bytes", "gauge", (), "`disk.warn_free_bytes`."),
    Family("gatebook_disk_refuse_below_bytes", "gauge", (), "`disk.refuse_free_bytes`: with less no call is taken on."),
    Family("gatebook_disk_size_bytes", "gauge", (), "Size of the file system of `data_dir`."),
    Family("gatebook_disk_free_inodes", "gauge", (), "Files that can still be made under `data_dir`."),
    Family("gatebook_certificate_expiry_timestamp_seconds", "gauge", ("certificate",), "When a certificate ends: `gate`, `desk`, `metrics`, `server NAME` (what we show to it), `idp NAME` (ours there)."),
    # the processes
    Family("gatebook_build_info", "gauge", ("version", "python", "profile"), "1: what runs here."),
    Family("gatebook_start_timestamp_seconds", "gauge", (), "When the supervisor started; counters began then."),
    Family("gatebook_room_up", "gauge", (), "1 while this room runs.", by_room=True),
    Family("gatebook_room_starts", "counter", (), "How often this room was started.", by_room=True),
    Family("gatebook_room_memory_bytes", "gauge", (), "Memory that this room has in use.", by_room=True),
    Family("gatebook_diagnostics", "counter", ("event",), "Lines on standard error, by `event`: docs/howto/operate.md explains each.", by_room=True),
)  # fmt: skip

BY_NAME = {family.name: family for family in ALL}


def exported(family: Family) -> tuple[str, ...]:
    """The names that a family has in the text, and in rules."""
    match family.kind:
        case "counter":
            return (f"{family.name}_total",)
        case "histogram":
            return tuple(f"{family.name}_{part}" for part in ("bucket", "count", "sum"))
        case _:
            return (family.name,)


_INTRODUCTION = """# Metrics

<!-- Made from src/gatebook/serve/metering/catalogue.py; a test holds it current. -->

What `[metrics]` shows at `/metrics`, in the text format of Prometheus or OpenMetrics, whichever is asked for. Counters grow from the start of the
supervisor on, whatever rooms are restarted meanwhile. Numbers are up to a second old. No label holds anything that a caller or a server
said: servers and issuers are those of the configuration, reasons are [ours](reasons.md), and there are no tools, people, addresses or ids.
Metrics are no evidence: the log is. [How to have them scraped](../howto/monitor.md), and the alerts.

| name | kind | labels | what |
| --- | --- | --- | --- |
"""


def reference() -> str:
    """docs/reference/metrics.md."""
    rows = []
    for family in ALL:
        labels = (("room",) if family.by_room else ()) + family.labels
        name = exported(family)[0] if family.kind == "counter" else family.name
        rows.append(f"| `{name}` | {family.kind} | {', '.join(f'`{label}`' for label in labels)} | {family.help} |\n")
    return _INTRODUCTION + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(reference())
