"""nginx twice: as the upstream that gives prepared answers and counts what it was asked, and as the bare reverse proxy."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from bench import places
from bench.bodies import CARD_TOOL, Answers
from bench.peers.common import Site, Tls
from bench.processes import GATE_CORE, LOAD_CORE, Child, children, free_port, listens

_PIECE = 1800
"""nginx takes words of up to 4,096 bytes; every byte may need an escape."""

_LARGEST_IN_MEMORY = 1 << 14

_FRAME = """daemon off;
worker_processes {workers};
error_log {directory}/error.log error;
pid {directory}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    client_body_temp_path {directory}/tmp-body;
    proxy_temp_path {directory}/tmp-proxy;
    fastcgi_temp_path {directory}/tmp-fastcgi;
    uwsgi_temp_path {directory}/tmp-uwsgi;
    scgi_temp_path {directory}/tmp-scgi;
{inside}}}
"""


def upstream_config(directory: Path, port: int, answers: Answers, tls: Tls | None) -> str:
    """Every call gets the prepared answer of its tool (`Mcp-Name`), and leaves one byte and a newline in `count.log`."""
    small = max(len(answers.plain), len(answers.card)) <= _LARGEST_IN_MEMORY
    inside, location = _from_memory(answers) if small else _from_files(directory, answers)
    # With the SSI filter the length of an answer is not known before its end: an event stream leaves in chunks, as from a real server.
    chunked = "ssi on; ssi_types text/event-stream;" if answers.media_type == "text/event-stream" else ""
    inside += f"""    log_format one '.';
    server {{
        listen 127.0.0.1:{port}{_ssl(tls)}
        types {{ }}
        default_type {answers.media_type};
        access_log {directory}/count.log one buffer=256k flush=1s;
        {chunked}
{location}    }}
"""
    return _FRAME.format(directory=directory, workers=1, inside=inside)


def _from_memory(answers: Answers) -> tuple[str, str]:
    inside = "    map_hash_bucket_size 128;\n"
    for which, body in (("plain", answers.plain), ("card", answers.card)):
        pieces = list(_pieces(body))
        for number, piece in enumerate(pieces):
            inside += f"    map $host ${which}_{number} {{ default '{piece}'; }}\n"
        inside += (
            f"    map $host ${which} {{ default '{''.join(f'${{{which}_{n}}}' for n in range(len(pieces)))}'; }}\n"
        )
    inside += f"    map $http_mcp_name $answer {{ default $plain; {CARD_TOOL} $card; }}\n"
    return inside, "        location / { return 200 $answer; }\n"


def _from_files(directory: Path, answers: Answers) -> tuple[str, str]:
    """nginx gives a file to GET only; what a POST gets instead is named by `error_page`, and given with sendfile."""
    for which, body in (("plain", answers.plain), ("card", answers.card)):
        (directory / f"{which}.body").write_bytes(body)
    inside = f"    map $http_mcp_name $answer {{ default /plain.body; {CARD_TOOL} /card.body; }}\n"
    inside += "    sendfile on; open_file_cache max=16 inactive=1h; open_file_cache_valid 1h;\n"
    location = f"""        location / {{ error_page 405 =200 $answer; return 405; }}
        location ~ [.]body$ {{ root {directory}; }}
"""
    return inside, location


def proxy_config(site: Site) -> str:
    """A bare reverse proxy with kept-alive connections: no token is looked at, nothing is logged."""
    scheme = "https" if site.tls else "http"
    inside, locations = "", ""
    for name, upstream in zip(site.names, site.upstreams, strict=True):
        inside += (
            f"    upstream {name} {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; }}\n"
        )
        verify = (
            f"proxy_ssl_trusted_certificate {site.tls.ca}; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_protocols TLSv1.3;"
            if site.tls
            else ""
        )
        locations += f"        location /{name}/ {{ proxy_pass {scheme}://{name}; {verify} }}\n"
    inside += f"""    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffers 64 16k;
    server {{
        listen 127.0.0.1:{site.port}{_ssl(site.tls)}
{locations}    }}
"""
    return _FRAME.format(directory=site.directory, workers=site.workers, inside=inside)


class Upstream:
    """The protected server: cheap enough to share a core with the load."""

    def __init__(self, directory: Path, answers: Answers, tls: Tls | None = None) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
        self._count = directory / "count.log"
        self.config = directory / "upstream.conf"
        self.config.write_text(upstream_config(directory, self.port, answers, tls))
        self._child = Child("upstream", _command(directory, self.config), directory, LOAD_CORE)
        self._child.until(lambda: listens(self.port))

    def counted(self, expected: int, within_s: float = 3.0) -> int:
        """Calls received since the start. `expected`: as soon as it shows, it is the answer; the count lies in a buffer for a while."""
        deadline = time.monotonic() + within_s
        while True:
            os.kill(self._child.pid, signal.SIGUSR1)  # reopens, and so writes out, its logs
            time.sleep(0.03)
            counted = self._count.stat().st_size // 2
            if counted == expected or time.monotonic() > deadline:
                return counted

    def stop(self) -> None:
        self._child.stop()


class Nginx:
    name = "nginx"

    def __init__(self, site: Site) -> None:
        site.directory.mkdir(parents=True)
        self.config = site.directory / "nginx.conf"
        self.config.write_text(proxy_config(site))
        self._child = Child("nginx", _command(site.directory, self.config), site.directory, GATE_CORE)
        self._child.until(lambda: listens(site.port))

    def pids(self) -> tuple[int, ...]:
        return tuple(pid for pid, _ in children(self._child.pid))

    def settle(self) -> float | None:
        return None

    def stop(self) -> None:
        self._child.stop()


def _command(directory: Path, config: Path) -> list[str | Path]:
    return [places.nginx(), "-e", directory / "error.log", "-p", directory, "-c", config]


def _pieces(body: bytes) -> Iterator[str]:
    text = body.decode("ascii")
    if "$" in text:
        raise ValueError("nginx would read a variable in this body")
    for at in range(0, len(text), _PIECE):
        piece = text[at : at + _PIECE].replace("\\", "\\\\").replace("'", "\\'")
        yield piece.replace("\n", "\\n")


def _ssl(tls: Tls | None) -> str:
    if tls is None:
        return ";"
    return f" ssl; ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key}; ssl_protocols TLSv1.3;"
