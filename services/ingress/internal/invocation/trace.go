package invocation

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
)

const (
	traceparentHeader = "Traceparent"
	tracestateHeader  = "Tracestate"
)

// Tracing makes the spans of one method.
type Tracing struct {
	tracer     trace.Tracer
	spanName   string
	attributes trace.SpanStartOption
}

// NewTracing prepares the spans of a method, which is called by the conventions of the system. A nil tracer records none, and passes the callers' trace context on.
func NewTracing(tracer trace.Tracer, system, service, method string) Tracing {
	return Tracing{
		tracer:   tracer,
		spanName: "ingress_invoke " + method,
		attributes: trace.WithAttributes(
			attribute.String("rpc.system", system),
			attribute.String("rpc.service", service),
			attribute.String("rpc.method", method),
		),
	}
}

// Start begins the span of a call, below the caller's W3C trace context where the headers have one.
func (t Tracing) Start(ctx context.Context, header http.Header) (context.Context, Span) {
	if _, ok := header[traceparentHeader]; ok {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(header))
	}
	if t.tracer == nil {
		return ctx, Span{}
	}
	//nolint:spancheck // Span.End ends it
	ctx, span := t.tracer.Start(ctx, t.spanName, trace.WithSpanKind(trace.SpanKindServer), t.attributes)
	return ctx, Span{recorded: span} //nolint:spancheck // as above
}

// Span is the ingress's part of a call in a trace.
type Span struct {
	// recorded is nil where the ingress records none.
	recorded trace.Span
}

// ContextOf returns what an invocation of the call is to run under, nil when the call is in no trace. The context is the
// one that Start returned.
func ContextOf(ctx context.Context) *journalv1.SpanContext {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	carrier := make(http.Header, 2)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(carrier))
	return &journalv1.SpanContext{
		Traceparent: carrier.Get(traceparentHeader),
		Tracestate:  carrier.Get(tracestateHeader),
	}
}

// SetInvocation names the invocation in the trace.
func (s Span) SetInvocation(id interface{ String() string }) {
	if s.recorded != nil && s.recorded.IsRecording() {
		s.recorded.SetAttributes(attribute.String("restate.invocation.id", id.String()))
	}
}

// End closes the span with the outcome of the call.
func (s Span) End(err error) {
	if s.recorded == nil {
		return
	}
	if err != nil {
		s.recorded.SetStatus(codes.Error, err.Error())
	}
	s.recorded.End()
}
