"""Envoy as a gateway for MCP would be set up with it: tokens verified (and cached), calls parsed, tools permitted by role, each call logged."""

import json
from pathlib import Path
from typing import Any

from bench import places
from bench.peers.common import Site
from bench.processes import GATE_CORE, Child, listens
from bench.tokens import ISSUER_URL

_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_TOKENS_CACHED = 4096


def config(site: Site) -> dict[str, Any]:
    """The bootstrap file."""
    return {
        "static_resources": {
            "listeners": [_listener(site)],
            "clusters": [_cluster(site, name, port) for name, port in zip(site.names, site.upstreams, strict=True)],
        }
    }


def _listener(site: Site) -> dict[str, Any]:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gate",
        "codec_type": "HTTP1",
        "access_log": [_access_log(site)],
        "route_config": {
            "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": f"/{name}/"}, "route": {"cluster": name}} for name in site.names],
            }]
        },
        "http_filters": [
            _filter("jwt_authn", "JwtAuthentication", _jwt(site)),
            # What is not MCP is refused; what is asked for stands in the metadata that RBAC and the log read.
            _filter("mcp", "Mcp", {"traffic_mode": "REJECT_NO_MCP"}),
            _filter("rbac", "RBAC", _rbac(site)),
            _filter("router", "Router", {}),
        ],
    }  # fmt: skip
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": manager}]}
    if site.tls is not None:
        chain["transport_socket"] = {
            "name": "tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
                    "tls_certificates": [{
                        "certificate_chain": {"filename": str(site.tls.certificate)},
                        "private_key": {"filename": str(site.tls.key)},
                    }],
                },
            },
        }  # fmt: skip
    return {"name": "gate", "address": _address(site.port), "filter_chains": [chain]}


def _jwt(site: Site) -> dict[str, Any]:
    return {
        "providers": {
            "corp": {
                "issuer": ISSUER_URL,
                "audiences": [site.audience(name) for name in site.names],
                "local_jwks": {"inline_string": site.issuer.jwks()},
                "jwt_cache_config": {"jwt_cache_size": _TOKENS_CACHED},
                "payload_in_metadata": "token",
                "forward": False,
            }
        },
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}],
    }


def _rbac(site: Site) -> dict[str, Any]:
    """One policy a role: its group may call the tools."""
    tools = [
        {"metadata": _metadata("mcp", ["params", "name"], {"string_match": {"exact": tool}})} for tool in site.tools
    ]
    called = {"metadata": _metadata("mcp", ["method"], {"string_match": {"exact": "tools/call"}})}
    permissions = [{"and_rules": {"rules": [called, {"or_rules": {"rules": tools}}]}}]
    return {
        "rules": {
            "action": "ALLOW",
            "policies": {
                group: {"permissions": permissions, "principals": [{"metadata": _group(group)}]}
                for group in site.groups
            },
        }
    }


def _group(group: str) -> dict[str, Any]:
    one_of = {"list_match": {"one_of": {"string_match": {"exact": group}}}}
    return _metadata("jwt_authn", ["token", "groups"], one_of)


def _metadata(name: str, path: list[str], value: dict[str, Any]) -> dict[str, Any]:
    return {"filter": f"envoy.filters.http.{name}", "path": [{"key": key} for key in path], "value": value}


def _access_log(site: Site) -> dict[str, Any]:
    return {
        "name": "file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(site.directory / "access.log"),
            "log_format": {
                "json_format": {
                    "at": "%START_TIME%", "status": "%RESPONSE_CODE%", "ms": "%DURATION%", "path": "%REQ(:PATH)%",
                    "method": "%DYNAMIC_METADATA(envoy.filters.http.mcp:method)%",
                    "tool": "%DYNAMIC_METADATA(envoy.filters.http.mcp:params:name)%",
                    "subject": "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:token:sub)%",
                    "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%", "call": "%REQ(X-REQUEST-ID)%",
                }
            },
        },
    }  # fmt: skip


def _cluster(site: Site, name: str, port: int) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
    }
    if site.tls is not None:
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {
                    "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
                    "validation_context": {
                        "trusted_ca": {"filename": str(site.tls.ca)},
                        "match_typed_subject_alt_names": [
                            {"san_type": "IP_ADDRESS", "matcher": {"exact": "127.0.0.1"}}
                        ],
                    },
                },
            },
        }
    return cluster


def _filter(name: str, message: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": f"{_HTTP}.{name}.v3.{message}", **settings}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


class Envoy:
    name = "envoy"

    def __init__(self, site: Site) -> None:
        site.directory.mkdir(parents=True)
        self.config = site.directory / "envoy.json"
        self.config.write_text(json.dumps(config(site), indent=1))
        command: list[str | Path] = [
            places.envoy(), "-c", self.config, "--concurrency", str(site.workers), "--disable-hot-restart", "--log-level", "error",
        ]  # fmt: skip
        self._child = Child("envoy", command, site.directory, GATE_CORE)
        self._child.until(lambda: listens(site.port))

    def pids(self) -> tuple[int, ...]:
        return (self._child.pid,)

    def settle(self) -> float | None:
        return None

    def stop(self) -> None:
        self._child.stop()
