package invoker

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

var traceContext propagation.TraceContext //nolint:gochecknoglobals // it has no state

// startSpan begins the span of an attempt, as a child of the span that the invocation was made in.
func (t *task) startSpan(ctx context.Context) (context.Context, trace.Span) {
	if parent := t.invocation.SpanContext; parent != nil {
		ctx = traceContext.Extract(ctx, propagation.MapCarrier{
			"traceparent": parent.GetTraceparent(), "tracestate": parent.GetTracestate(),
		})
	}
	return t.v.deps.Tracer.Start(ctx, "invoker_invocation_task", //nolint:spancheck // the caller ends it
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(
			attribute.String("rpc.system", "restate"),
			attribute.String("rpc.service", t.invocation.Target.GetService()),
			attribute.String("rpc.method", t.invocation.Target.GetHandler()),
			attribute.String("restate.invocation.id", t.invocation.ID.String()),
		))
}

func endSpan(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, string(codeOf(err)))
	}
	span.End()
}

// traceHeaders passes the trace on to the endpoint.
func (t *task) traceHeaders(ctx context.Context, header http.Header) {
	traceContext.Inject(ctx, propagation.HeaderCarrier(header))
}
