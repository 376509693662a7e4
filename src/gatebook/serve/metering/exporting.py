"""Spans → an OpenTelemetry collector, by OTLP over HTTP. Bounded, and patient; what it cannot get rid of it drops, and counts."""

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable

import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Told

from gatebook import __version__
from gatebook.model.deployment import Traces
from gatebook.model.errors import ConfigurationError, UpstreamError
from gatebook.model.spans import Span
from gatebook.ports import Credentials
from gatebook.serve.diagnostics import say

MOST_WAITING = 20_000
BATCH = 512
TIMEOUT_S = 10.0
PAUSES_S = (1.0, 2.0, 5.0, 15.0, 30.0)
_PERMANENT = frozenset({400, 401, 403, 404, 405, 413, 415})
"""Sent again, these would be refused again (OTLP 1.x, failures): the batch is dropped, and the next one waits."""


class Exporter:
    """Takes spans at any time; `run` sends them."""

    def __init__(self, traces: Traces, credentials: Credentials) -> None:
        """Raises ConfigurationError where `ca_file` cannot be used."""
        self._traces = traces
        self._credentials = credentials
        try:
            self._tls = ssl.create_default_context(cafile=traces.ca_file)
        except (OSError, ssl.SSLError) as failure:
            raise ConfigurationError((f"traces.ca_file {traces.ca_file}: {failure}",)) from failure
        self._waiting: deque[Span] = deque()
        self._came = asyncio.Event()
        self.sent = 0
        self.dropped = 0

    def take(self, spans: Iterable[Span]) -> None:
        for span in spans:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(span)
            else:
                self.dropped += 1
        self._came.set()

    async def run(self) -> None:
        """Until cancelled. What fails for a while is tried again, ever more slowly; the calls themselves never wait for any of it."""
        failures = 0
        async with httpx2.AsyncClient(verify=self._tls, timeout=TIMEOUT_S, trust_env=False) as client:
            while True:
                await self._came.wait()
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                if not batch:
                    self._came.clear()
                    continue
                if (why := await self._posted(client, batch)) is None:
                    failures = 0
                    continue
                if failures == 0:
                    say("traces.unsent", why=why)
                failures += 1
                await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S)) - 1])

    async def _posted(self, client: httpx2.AsyncClient, batch: list[Span]) -> str | None:
        """Why the collector did not take `batch`; None where it did. What it will never take is dropped, the rest waits in its old place."""
        try:
            headers = {"content-type": "application/x-protobuf", **self._authorization()}
            answer = await client.post(self._traces.endpoint, content=encoded(batch), headers=headers)
        except (httpx2.HTTPError, UpstreamError) as failure:
            self._waiting.extendleft(reversed(batch))
            return type(failure).__name__
        if answer.is_success:
            self.sent += len(batch)
            return None
        if answer.status_code in _PERMANENT:
            self.dropped += len(batch)
        else:
            self._waiting.extendleft(reversed(batch))
        return f"HTTP {answer.status_code}"

    def _authorization(self) -> dict[str, str]:
        if self._traces.token is None:
            return {}
        token = self._credentials.resolve(self._traces.token).reveal()
        return {"authorization": f"Bearer {token.decode('latin-1')}"}


def encoded(spans: Iterable[Span]) -> bytes:
    """An ExportTraceServiceRequest: for each call a span of ours, and one of what we sent."""
    told = [each for span in spans for each in _told(span)]
    scope = ScopeSpans(scope=InstrumentationScope(name="gatebook", version=__version__), spans=told)
    resource = Resource(attributes=[_text("service.name", "gatebook"), _text("service.version", __version__)])
    request = ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[scope])])
    return bytes(request.SerializeToString())


def _told(span: Span) -> Iterable[Told]:
    """Attributes by the semantic conventions for MCP where they hold nothing that a caller chose: no tool, no session, no id of a request."""
    attributes = [
        _text("mcp.method.name", span.method),
        _text("gatebook.server", span.server),
        _text("gatebook.era", span.protocol),
    ]
    failed = [_text("error.type", span.refused)] if span.refused is not None else []
    status = Status(code=Status.STATUS_CODE_ERROR) if span.refused is not None else Status()
    trace = bytes.fromhex(span.trace)
    yield Told(
        trace_id=trace,
        span_id=bytes.fromhex(span.own_id),
        parent_span_id=bytes.fromhex(span.parent),
        name=span.method,
        kind=Told.SPAN_KIND_SERVER,
        start_time_unix_nano=span.started_ns,
        end_time_unix_nano=span.ended_ns,
        attributes=[
            *attributes,
            *failed,
            _text("gatebook.call", span.call),
            KeyValue(key="http.response.status_code", value=AnyValue(int_value=span.status)),
        ],
        status=status,
    )
    if span.sent_ns is not None:
        yield Told(
            trace_id=trace,
            span_id=bytes.fromhex(span.upstream_id),
            parent_span_id=bytes.fromhex(span.own_id),
            name=span.method,
            kind=Told.SPAN_KIND_CLIENT,
            start_time_unix_nano=span.sent_ns,
            end_time_unix_nano=span.answered_ns if span.answered_ns is not None else span.ended_ns,
            attributes=[*attributes, *failed],
            status=status,
        )


def _text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
