// Package errcode is the registry of the error codes that users meet, in answers, logs and documents. It is append
// only: a code keeps its meaning for ever.
package errcode

import (
	"errors"
	"fmt"
	"slices"
)

// Code is a published error code.
type Code string

// Codes of meta: what is wrong with an endpoint or its services.
const (
	// BadService is a service definition that cannot be registered.
	BadService Code = "META0001"
	// BadKey is a key definition that cannot be used.
	BadKey Code = "META0002"
	// DiscoveryFailed is an endpoint that does not answer as a service endpoint does.
	DiscoveryFailed Code = "META0003"
	// EndpointExists is a URI that is registered already.
	EndpointExists Code = "META0004"
	// RegistryUnusable is a registry that cannot be read or written.
	RegistryUnusable Code = "META0005"
	// Incompatible is a revision that differs too much from the one before.
	Incompatible Code = "META0006"
	// RepeatedAnnotation is an annotation on more than one field of a message.
	RepeatedAnnotation Code = "META0007"
	// BadEventField is an event annotation on a field of a type that cannot hold it.
	BadEventField Code = "META0008"
	// BadSubscription is a subscription that cannot be made.
	BadSubscription Code = "META0009"
	// UnsupportedProtocol is an endpoint that speaks no service protocol of the runtime.
	UnsupportedProtocol Code = "META0012"
	// BadManifest is an answer to discovery that cannot be used.
	BadManifest Code = "META0013"
	// NotHTTP2 is an endpoint that seems to speak HTTP/1.1 only.
	NotHTTP2 Code = "META0014"
	// NotFound is a resource that does not exist.
	NotFound Code = "META0404"
	// BadRequest is a request that cannot be understood.
	BadRequest Code = "META0400"
	// NotAllowed is a request for something that must not be done.
	NotAllowed Code = "META0403"
	// EndpointInUse is an endpoint that is to be removed while invocations need it.
	EndpointInUse Code = "META0409"
	// Unexpected is a request that failed for a reason within the runtime.
	Unexpected Code = "META0500"
	// Unavailable is a daemon or broker that cannot be reached.
	Unavailable Code = "META0503"
)

// Codes of the runtime: what went wrong with an invocation or a daemon.
const (
	// AttemptAborted is an attempt in which the endpoint sent nothing for too long.
	AttemptAborted Code = "RT0001"
	// BadConfiguration is a configuration that cannot be read.
	BadConfiguration Code = "RT0002"
	// MessageTooLarge is a message of an endpoint over the limit.
	MessageTooLarge Code = "RT0003"
	// CannotBind is an address that cannot be listened on.
	CannotBind Code = "RT0004"
	// DatabaseLocked is a database that another process has open.
	DatabaseLocked Code = "RT0005"
	// InvocationFailed is an attempt that failed for no reason with a code of its own.
	InvocationFailed Code = "RT0006"
	// ServiceFailed is an attempt that the service reported as failed.
	ServiceFailed Code = "RT0007"
	// NetworkFailed is an attempt that could not reach the endpoint, or lost it.
	NetworkFailed Code = "RT0010"
	// EndpointUnknown is an attempt whose endpoint, or service, is not registered any more.
	EndpointUnknown Code = "RT0011"
	// ProtocolViolated is an attempt in which the endpoint did not keep to the service protocol.
	ProtocolViolated Code = "RT0012"
	// JournalMismatch is a handler that did not do what its journal says.
	JournalMismatch Code = "RT0016"
	// TargetNotFound is a call to a service or method that is not registered, or with a key that cannot be read.
	TargetNotFound Code = "RT0018"
	// VersionUnusable is an attempt on an endpoint that does not speak the protocol any more that the invocation began with.
	VersionUnusable Code = "RT0014"
	// VersionRefused is an endpoint that refuses the protocol that it announced.
	VersionRefused Code = "RT0015"
	// CommandRefused is a command that the handler may not give.
	CommandRefused Code = "RT0017"
	// RequestTooLarge is an endpoint, or something before it, that refuses a journal as too large.
	RequestTooLarge Code = "RT0019"
	// EndpointBusy is an endpoint that answers that it has no capacity.
	EndpointBusy Code = "RT0023"
	// ScopeRefused is a call with a scope or limit key that cannot be used.
	ScopeRefused Code = "RT0024"
	// FutureTooDeep is a handler that waits for futures that are nested too deeply.
	FutureTooDeep Code = "RT0025"
	// FunctionRefused is a function on AWS Lambda that the runtime cannot invoke.
	FunctionRefused Code = "RT0026"
	// LogUnusable is a partition that cannot go on with its log or its state.
	LogUnusable Code = "RT0100"
	// TooManyWait is a request for the result of an invocation that as many wait for as may.
	TooManyWait Code = "RT0101"
	// ResultsUnread is an attempt whose endpoint does not read what it has asked for.
	ResultsUnread Code = "RT0110"
	// WeakBroker is a broker that may lose what it has acknowledged.
	WeakBroker Code = "RT0120"
	// JournalTooLarge is an invocation whose journal would exceed what it may have.
	JournalTooLarge Code = "RT0111"
	// MemoryExhausted is an attempt that gets no memory for what it has to hold.
	MemoryExhausted Code = "RT0112"
	// PromiseCrowded is a handler that asks for a promise that as many wait for as may.
	PromiseCrowded Code = "RT0113"
	// TooManyStateKeys is a handler that asks for more keys of its state than it can be given.
	TooManyStateKeys Code = "RT0114"
	// ResultTooLarge is a result that the broker does not take to whoever waits for it.
	ResultTooLarge Code = "RT0115"
	// SmallBroker is a broker that takes only smaller messages than there are.
	SmallBroker Code = "RT0116"
	// TimeoutIgnored is an inactivity timeout of a service whose endpoint hears nothing while it works.
	TimeoutIgnored Code = "RT0021"
	// RetentionClamped is a journal that is kept for less time than its service asks for.
	RetentionClamped Code = "RT0022"
)

// Entry is what is published of a code.
type Entry struct {
	Code Code
	// Summary says in a few words what the code stands for.
	Summary string
	// Advice says what the user can do.
	Advice string
}

// entries are appended to, never changed in meaning or removed.
var entries = []Entry{
	{
		BadService, "the service definition cannot be registered",
		"Annotate each service with dev.restate.ext.service_type, give keyed services a method, and use names outside dev.restate and grpc.",
	},
	{
		BadKey, "the key definition cannot be used",
		"Annotate exactly one field of each input message of a keyed service with KEY; it may not be repeated, a map or recursive, and has the same type in all methods.",
	},
	{
		DiscoveryFailed, "the endpoint cannot be discovered",
		"Check that the service endpoint runs, that the runtime can reach the URI, and that it is served by a Restate SDK over HTTP/2.",
	},
	{
		EndpointExists, "the URI is registered already",
		"Endpoints are immutable: register the new version under another URI, or repeat with \"force\": true during development.",
	},
	{RegistryUnusable, "the registry cannot be read or written", "Check the broker and its disk."},
	{
		Incompatible, "the new revision is incompatible with the one before",
		"Keep the type of the service, its handlers and their keys, or register it under another name; \"breaking\": true on POST /deployments, or \"force\": true, lets the revision pass.",
	},
	{RepeatedAnnotation, "an annotation is on more than one field", "Annotate only one field of the message."},
	{
		BadEventField, "an event annotation is on a field that cannot hold it",
		"EVENT_PAYLOAD goes on a string or bytes field, EVENT_METADATA on a map<string, string>.",
	},
	{BadSubscription, "the subscription cannot be made", "Check its source and its sink."},
	{
		UnsupportedProtocol, "the endpoint speaks no service protocol of the runtime",
		"Use a release of the SDK that speaks one of the protocols named.",
	},
	{BadManifest, "the answer to discovery cannot be used", "The message says what is wrong with it; check the release of the SDK."},
	{
		NotHTTP2, "the endpoint seems to speak HTTP/1.1 only",
		"Serve the endpoint over HTTP/2 (without TLS by prior knowledge), or register it with \"use_http_11\": true.",
	},
	{BadRequest, "the request cannot be understood", "See GET /openapi for what the request has to look like."},
	{NotAllowed, "the request is for something that must not be done", "The message says why; GET /openapi says what there is."},
	{NotFound, "the resource does not exist", "List what there is with GET on the collection."},
	{
		EndpointInUse, "invocations need the endpoint that is to be removed",
		"Wait until they are over, or kill them; ?force=true removes the endpoint nevertheless, and they cannot go on without it.",
	},
	{Unexpected, "the request failed for a reason within the runtime", "Look at the log of the daemon, which says more."},
	{Unavailable, "a part of the runtime cannot be reached", "Try again once the daemon named is up."},
	{
		AttemptAborted, "the endpoint sent nothing for too long",
		"Look at the service: it neither answered nor suspended. Longer steps need longer inactivity and abort timeouts.",
	},
	{BadConfiguration, "the configuration cannot be read", "`restate config` prints what is in force."},
	{MessageTooLarge, "a message of the endpoint is over the limit", "Send less, or raise the message size limit."},
	{CannotBind, "an address cannot be listened on", "Another process listens there: choose another address."},
	{
		DatabaseLocked, "another process has the data open",
		"Stop the other runtime, or give this one another base directory.",
	},
	{InvocationFailed, "an attempt failed", "The invocation is tried again; the message says what happened."},
	{ServiceFailed, "the service reported a failure", "Look at the log of the service. The invocation is tried again."},
	{
		NetworkFailed, "the endpoint cannot be reached, or was lost",
		"Check that the service endpoint runs and can be reached. The invocation is tried again.",
	},
	{
		EndpointUnknown, "the endpoint or service of an invocation is not registered any more",
		"Register the endpoint again, or kill the invocation.",
	},
	{
		ProtocolViolated, "the endpoint did not keep to the service protocol",
		"Check that the URI belongs to a service endpoint with a supported SDK. The invocation is tried again.",
	},
	{
		JournalMismatch, "the handler did not do what its journal says",
		"The handler's code changed, or is not deterministic. Deploy changed code under another URI.",
	},
	{
		TargetNotFound, "the service, method or key of a call cannot be resolved",
		"Register the service that is called. The invocation is tried again.",
	},
	{
		VersionUnusable, "the endpoint does not speak the service protocol that the invocation began with",
		"Register an endpoint whose SDK speaks that protocol, and resume the invocation there.",
	},
	{VersionRefused, "the endpoint refuses the service protocol that it announced", "Register the endpoint again."},
	{CommandRefused, "the handler asks for what it may not do", "The message says what; correct the handler."},
	{RequestTooLarge, "the endpoint refuses the journal as too large", "Raise its limit, or keep less in one invocation."},
	{EndpointBusy, "the endpoint has no capacity", "The invocation is tried again; give the endpoint more capacity."},
	{ScopeRefused, "the scope or limit key of a call cannot be used", "The message says why; correct the handler."},
	{
		FutureTooDeep, "the handler waits for futures that are nested too deeply",
		"Combine what the handler waits for in fewer steps.",
	},
	{
		LogUnusable, "a partition cannot go on with its log or its state",
		"Check the disk and the broker; the state and the log must belong together.",
	},
	{
		TooManyWait, "too many wait for the result of one invocation",
		"Ask again later, at the latest when the invocation is over; ask with fewer requests at a time.",
	},
	{
		ResultsUnread, "the endpoint does not read what it asked for",
		"Look at the service: it asks for more than it takes. The invocation is tried again.",
	},
	{
		WeakBroker, "the broker may lose what it has acknowledged",
		"Set sync_interval to always on the NATS server, and broker.monitoring_url to where it says so; or broker.require_sync to false.",
	},
	{
		JournalTooLarge, "the journal of an invocation is over the limit",
		"The invocation is paused. Raise the limits of the journal and resume it, or kill it; let handlers do less in one invocation.",
	},
	{
		MemoryExhausted, "the attempts of a service take all the memory that they may",
		"The invocation is tried again. Keep less in one invocation and send less at a time, or raise the memory limit.",
	},
	{
		PromiseCrowded, "too many wait for one promise",
		"Complete the promise, or ask again later: handlers that are over make room. Those that can do without it may peek at it.",
	},
	{
		TimeoutIgnored, "the inactivity timeout has no effect",
		"The endpoint is called in request/response mode, where a handler suspends as soon as it waits. Leave the timeout out, or serve the endpoint with streams.",
	},
	{
		RetentionClamped, "the journal is kept for less time than asked for",
		"Ask for less, or raise meta.max_journal_retention.",
	},
	{
		FunctionRefused, "the function on AWS Lambda cannot be invoked",
		"Check that this version of it exists, and that the credentials of the runtime, or the role, allow lambda:InvokeFunction on it. The invocation is tried again.",
	},
	{
		TooManyStateKeys, "a handler asks for all keys of a state that has too many",
		"The invocation is paused. Change the handler and resume it there, or kill it; spread the state over more keys of the service.",
	},
	{
		ResultTooLarge, "a result is larger than the broker takes",
		"The invocation is over; who waits for it gets this instead. Let the handler return less.",
	},
	{
		SmallBroker, "the broker takes only small messages",
		"Set max_payload to 8MB on the NATS server, or on each of a cluster.",
	},
}

// Entries returns what is published, in order of publication. The slice is the caller's.
func Entries() []Entry { return slices.Clone(entries) }

func (c Code) entry() Entry {
	for _, e := range entries {
		if e.Code == c {
			return e
		}
	}
	return Entry{Code: c}
}

// Summary says in a few words what the code stands for.
func (c Code) Summary() string { return c.entry().Summary }

// Advice says what the user can do about an error with the code.
func (c Code) Advice() string { return c.entry().Advice }

// Error is an error with a published code.
type Error struct {
	Code Code
	Err  error
}

// New returns an error with the code and a message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Wrap gives the error a code.
func Wrap(code Code, err error) *Error { return &Error{Code: code, Err: err} }

// Error returns the code and what happened.
func (e *Error) Error() string { return "[" + string(e.Code) + "] " + e.Err.Error() }

// Unwrap returns what happened.
func (e *Error) Unwrap() error { return e.Err }

// Of returns the code of an error, or the given one when it has none.
func Of(err error, otherwise Code) Code {
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return otherwise
}

// Reason returns what happened, without the code that it was given.
func Reason(err error) error {
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Err
	}
	return err
}

// Message says what happened, without the code that an error begins with: for places that show the code apart.
func Message(err error) string {
	if coded, ok := err.(*Error); ok { //nolint:errorlint // further in, the code belongs to a part of the text
		return coded.Err.Error()
	}
	return err.Error()
}

// Explain says what happened, and in a second line what the user can do about it, where the error has a code.
func Explain(err error) string {
	if advice := Of(err, "").Advice(); advice != "" {
		return err.Error() + "\n" + advice
	}
	return err.Error()
}
