package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/restate-go/restate/pkg/endpoint"
	"github.com/restate-go/restate/pkg/errcode"
)

// statusError is an answer that is no success.
type statusError struct {
	code   int
	status string
	// says is how the body begins.
	says string
}

func (e *statusError) Error() string {
	text := "the endpoint answers " + e.status
	if e.says != "" {
		text += fmt.Sprintf(" with %q", e.says)
	}
	switch e.code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return text + ": check the path of the URI, and the key that a gateway before it wants (additional_headers)"
	case http.StatusNotFound:
		return text + ": no service endpoint is served at this path; check the path of the URI, and what a gateway before it wants " +
			"(additional_headers)"
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return text + ": it starts, or has no capacity; register it again when it is up"
	}
	return text
}

// refusesMethod says that another method may be answered. Gateways tell in different ways that they have no route.
func (e *statusError) refusesMethod() bool {
	switch e.code {
	case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// passingError is a failure that may pass.
type passingError struct{ error }

func (e passingError) Unwrap() error { return e.error }

// passing says whether the endpoint is worth another attempt.
func passing(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.code/100 == 5 || status.code == http.StatusTooManyRequests || status.code == http.StatusRequestTimeout
	}
	var passes passingError
	return errors.As(err, &passes)
}

// explain puts the usual failures of connections into words: what is wrong, and what can be done about it.
func explain(err error) error {
	var (
		timeout net.Error
		noTLS   tls.RecordHeaderError
		name    *net.DNSError
		coded   *errcode.Error
	)
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("the registration was given up: %w", err)
	case errors.As(err, &coded): // of a function
		return errcode.Reason(err)
	case endpoint.IsProxyFailure(err):
		return passingError{fmt.Errorf("the way to the endpoint is through a proxy, which fails; no_proxy has an endpoint reached directly: %w", err)}
	case isCertificate(err):
		return explainCertificate(err)
	case errors.As(err, &noTLS):
		return fmt.Errorf("the endpoint does not speak TLS, which https stands for: %w", err)
	case notHTTP2(err):
		return errcode.New(errcode.NotHTTP2, "the peer does not speak HTTP/2, which service endpoints do (with TLS, the URI is https): %w", err)
	case errors.As(err, &name) && name.IsNotFound:
		return passingError{fmt.Errorf("the host of the endpoint is not known where the runtime looks names up; check its spelling and domain: %w", err)}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		if dialing(err) {
			return passingError{fmt.Errorf("the endpoint did not take the connection in time; check the address, and that nothing "+
				"on the way drops it (meta.endpoint.connect_timeout): %w", err)}
		}
		return passingError{fmt.Errorf("the endpoint did not answer in time (meta.discovery.attempt_timeout): %w", err)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return passingError{fmt.Errorf("the endpoint cannot be reached, for nothing listens there; check host and port, and that it does "+
			"not listen on its own loopback only: %w", err)}
	}
	return passingError{fmt.Errorf("the endpoint cannot be reached: %w", err)}
}

// dialing says whether the failure is one of opening the connection.
func dialing(err error) bool {
	var operation *net.OpError
	return errors.As(err, &operation) && operation.Op == "dial"
}

func isCertificate(err error) bool {
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}

// explainCertificate says which of the reasons it is that a certificate is refused.
func explainCertificate(err error) error {
	var (
		otherName x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &otherName):
		return fmt.Errorf("the endpoint's certificate is for another name; register it under the name that the certificate is for: %w", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the endpoint's certificate is not valid now; renew it, or set the clock: %w", err)
	}
	return fmt.Errorf("the endpoint's certificate is not trusted; name its authority in meta.endpoint.ca_file and "+
		"worker.endpoint.ca_file: %w", err)
}

// notHTTP2 tells answers of another protocol, for which net/http has no types of errors.
func notHTTP2(err error) bool {
	for _, sign := range []string{"HTTP/1.1 header", "malformed HTTP response", "frame too large", "tls: no application protocol"} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
}
