package schema

import (
	"math"
	"time"
)

// Options are how the invocations of a handler are run and kept. What is nil is as the partition-worker is configured.
type Options struct {
	InactivityTimeout *time.Duration
	AbortTimeout      *time.Duration
	Retry             *RetryPolicy
	// IdempotencyRetention is how long the result of an invocation with an idempotency key is kept.
	IdempotencyRetention time.Duration
	// WorkflowRetention is how long the run of a workflow is kept.
	WorkflowRetention time.Duration
	// JournalRetention is how long the journal is kept, and the result where nothing else keeps it.
	JournalRetention time.Duration
	// AskedJournalRetention is what JournalRetention would be without the Limits; 0 where they do not shorten it.
	AskedJournalRetention time.Duration
	// LazyState has the endpoint ask for each value of the state.
	LazyState bool
}

// MaxFactor is the greatest factor of a retry policy.
const MaxFactor = math.MaxInt32

// ValidFactor says whether a retry policy may have the factor. No other leads to intervals that can be told.
func ValidFactor(factor float64) bool { return factor >= 1 && factor <= MaxFactor }

// RetryPolicy is exponential.
type RetryPolicy struct {
	InitialInterval time.Duration
	// Factor multiplies the interval after each attempt, 1 to MaxFactor.
	Factor      float64
	MaxInterval time.Duration
	// MaxAttempts counts the first attempt too; 0 is without end.
	MaxAttempts uint32
	// Exhausted says what comes after the last attempt.
	Exhausted Exhausted
}

// Exhausted is what becomes of an invocation that has used up its attempts.
type Exhausted string

// The ends of a retry policy, as they are shown.
const (
	// ExhaustedKill ends the invocation with the failure of its last attempt.
	ExhaustedKill Exhausted = "Kill"
	// ExhaustedPause lets it rest until somebody resumes it.
	ExhaustedPause Exhausted = "Pause"
)

// Defaults of handlers that are discovered by a manifest, those of restate-server.
const (
	defaultRetention   = 24 * time.Hour
	defaultInitial     = 500 * time.Millisecond
	defaultMaxInterval = time.Minute
	defaultFactor      = 2
	defaultMaxAttempts = 70
)

func defaultOptions() Options {
	return Options{
		Retry: &RetryPolicy{
			InitialInterval: defaultInitial, Factor: defaultFactor, MaxInterval: defaultMaxInterval,
			MaxAttempts: defaultMaxAttempts, Exhausted: ExhaustedPause,
		},
		IdempotencyRetention: defaultRetention,
		WorkflowRetention:    defaultRetention,
		JournalRetention:     defaultRetention,
	}
}
