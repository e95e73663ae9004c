"""What takes traces."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from upstream import Call, Upstream


class Collector(Upstream):
    """Takes spans; `spans` are what came, as dicts, `raw` all of it as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[dict[str, Any]] = []
        self.raw = b""
        self.plays(self._take)

    async def _take(self, call: Call) -> None:
        self.raw += call.body
        request = ExportTraceServiceRequest.FromString(call.body)
        for resource in request.resource_spans:
            service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    facts = {each.key: _value(each.value) for each in span.attributes}
                    self.spans.append(
                        {
                            "name": span.name, "trace": span.trace_id.hex(), "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(), "kind": span.kind, "status": span.status.code,
                            "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                            "service": service, "path": call.path, **facts,
                        }
                    )  # fmt: skip
        await call.answer(b"", kind="application/x-protobuf")


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)
