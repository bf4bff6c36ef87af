package v5

import (
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"
)

func valueFromWire(v *wire.Value) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Value{Value: v.GetContent()}}
}

func valueToWire(content []byte) *wire.Value { return &wire.Value{Content: content} }

func void() *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
}

func (v Version) failureFromWire(f *wire.Failure) *journalv1.Result {
	failure := &journalv1.Failure{Code: f.GetCode(), Message: f.GetMessage()}
	if v >= V6 {
		for _, m := range f.GetMetadata() {
			failure.Metadata = append(failure.Metadata, &journalv1.FailureMetadata{Key: m.GetKey(), Value: m.GetValue()})
		}
	}
	return &journalv1.Result{Result: &journalv1.Result_Failure{Failure: failure}}
}

// failureToWire leaves out what the version cannot say.
func (v Version) failureToWire(f *journalv1.Failure) *wire.Failure {
	failure := &wire.Failure{Code: f.GetCode(), Message: f.GetMessage()}
	if v >= V6 {
		for _, m := range f.GetMetadata() {
			failure.Metadata = append(failure.Metadata, &wire.FailureMetadata{Key: m.GetKey(), Value: m.GetValue()})
		}
	}
	return failure
}

func headersFromWire(headers []*wire.Header) []*journalv1.Header {
	var out []*journalv1.Header
	for _, h := range headers {
		out = append(out, &journalv1.Header{Key: h.GetKey(), Value: h.GetValue()})
	}
	return out
}

func headersToWire(headers []*journalv1.Header) []*wire.Header {
	var out []*wire.Header
	for _, h := range headers {
		out = append(out, &wire.Header{Key: h.GetKey(), Value: h.GetValue()})
	}
	return out
}
