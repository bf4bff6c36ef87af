package rpc

import (
	"io"
	"mime"
	"net/http"
	"strings"
)

// Protocol is how a request is spoken, by its content type.
type Protocol int

// The protocols of the ingress port.
const (
	ProtocolUnknown Protocol = iota
	ProtocolConnect
	ProtocolGRPC
	ProtocolGRPCWeb
	// ProtocolGRPCWebText is gRPC-Web in base64.
	ProtocolGRPCWebText
)

// Classify finds the protocol of a request and returns the request as connect understands it: with the current name of
// the binary content type, and as a POST of an empty object where it is a GET without content type.
func Classify(r *http.Request) (Protocol, *http.Request) {
	protocol := classify(r)
	// Whatever version of Connect a client names, it is served, as by the 2023 ingress.
	delete(r.Header, "Connect-Protocol-Version")
	if protocol == ProtocolConnect && r.Method == http.MethodGet && r.Header.Get("Content-Type") == "" {
		r = r.WithContext(r.Context())
		r.Method = http.MethodPost
		r.Header.Set("Content-Type", "application/json")
		r.Body = io.NopCloser(strings.NewReader("{}"))
	}
	return protocol, r
}

func classify(r *http.Request) Protocol {
	contentType := r.Header.Get("Content-Type")
	switch contentType {
	case "application/json", "application/proto":
		return ProtocolConnect
	case "application/grpc", "application/grpc+proto":
		return ProtocolGRPC
	case "":
		if r.Method != http.MethodGet {
			return ProtocolUnknown
		}
		return ProtocolConnect
	}
	mediaType, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ProtocolUnknown
	}
	switch mediaType {
	case "application/json":
		if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
			return ProtocolUnknown
		}
		r.Header.Set("Content-Type", "application/json")
		return ProtocolConnect
	case "application/proto", "application/protobuf":
		r.Header.Set("Content-Type", "application/proto")
		return ProtocolConnect
	case "application/grpc", "application/grpc+proto", "application/grpc+json":
		r.Header.Set("Content-Type", mediaType)
		return ProtocolGRPC
	case "application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json":
		r.Header.Set("Content-Type", mediaType)
		return ProtocolGRPCWeb
	case "application/grpc-web-text", "application/grpc-web-text+proto":
		return ProtocolGRPCWebText
	}
	return ProtocolUnknown
}
