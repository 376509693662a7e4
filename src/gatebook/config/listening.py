"""Where the gate listens and where its data lies, by the file or by default; and what that and its bounds must be together."""

from collections.abc import Iterator
from pathlib import Path

from gatebook.config import schema, values
from gatebook.config.problem import Problem, error, warning
from gatebook.config.reading import Read

DEV_LISTEN = "127.0.0.1:8080"
DEV_DATA_DIR = "data"


def public_url_of(file: schema.File) -> str:
    """`public_url`, or in dev the first listener as a URL; empty where neither says."""
    if file.public_url is not None:
        return file.public_url
    first = listen_of(file)[0] if listen_of(file) else "unix:"
    if file.profile == "pci" or first.startswith("unix:"):
        return ""
    return f"{'https' if file.tls else 'http'}://{first.replace('0.0.0.0', '127.0.0.1').replace('[::]', '[::1]')}"


def data_dir_of(file: schema.File, directory: Path) -> Path:
    return directory / (file.data_dir or DEV_DATA_DIR)


def listen_of(file: schema.File) -> tuple[str, ...]:
    return tuple(file.listen or ([DEV_LISTEN] if file.profile == "dev" else []))


def problems(read: Read, file: schema.File) -> Iterator[Problem]:
    listening = listen_of(file)
    if len(set(listening)) < len(listening):
        yield error(read.where("listen"), "names one address twice", "remove the repetition")
    tcp = [entry for entry in listening if not entry.startswith("unix:")]
    if tcp and file.tls is None and "tls" not in read.faulty:
        if file.profile == "pci":
            mend = 'write tls = { certificate = "…", key = "…" }, or listen on unix: behind a proxy that ends TLS'
            yield error(read.where("listen"), "listens on the network without TLS", mend)
        elif any(not values.is_loopback(values.host_of(entry)) for entry in tcp):
            mend = "listen on 127.0.0.1, or configure tls"
            yield warning(read.where("listen"), "tokens and answers cross the network in clear", mend)
    if listening and not tcp and file.public_url is None and file.profile == "dev" and "public_url" not in read.faulty:
        yield error("public_url", "is missing, and a unix: listener does not tell it", "write the URL that clients use")
    if tcp and file.tls and file.public_url is not None and file.public_url.startswith("http://"):
        yield warning(read.where("public_url"), "says http, but the gate listens with TLS", "write https://")
    if file.limits.buffered_bytes < max(file.limits.request_bytes, file.limits.response_bytes):
        what = "is smaller than one message may be, so that the largest can never pass"
        yield error(read.where("limits", "buffered_bytes"), what, "raise it, or lower request_bytes and response_bytes")
    if file.disk.warn_free_bytes <= file.disk.refuse_free_bytes:
        what = "is not above refuse_free_bytes, so nobody would be warned before calls are refused"
        yield error(read.where("disk", "warn_free_bytes"), what, "raise it, or lower refuse_free_bytes")
    if file.limits.session_absolute_s < file.limits.session_idle_s:
        yield error(
            read.where("limits", "session_absolute_s"),
            "is shorter than session_idle_s",
            "raise it, or lower session_idle_s",
        )
