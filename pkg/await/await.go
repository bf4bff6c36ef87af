// Package await lets tests wait for a condition.
package await

import (
	"testing"
	"time"
)

// Deadline is how long tests wait for what should happen soon, on a busy machine.
const Deadline = 30 * time.Second

// True polls until the condition holds, and fails the test when it does not within the deadline.
func True(t testing.TB, deadline time.Duration, condition func() bool, what string) {
	t.Helper()
	end := time.Now().Add(deadline)
	for !condition() {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain for: %s", deadline, what)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // the pace of polling, which is the point of this package
	}
}
