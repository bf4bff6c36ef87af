package invoker

import (
	"sync"
	"time"
)

// watchdog sees to it that an attempt does not go on for ever without a message. First the service is asked to suspend,
// by the end of the request; then the attempt is aborted.
type watchdog struct {
	inactivity, abortion time.Duration
	inactive             func()
	aborted              func()

	mu      sync.Mutex
	timer   *time.Timer
	asked   bool
	stopped bool
}

func newWatchdog(inactivity, abortion time.Duration, inactive, aborted func()) *watchdog {
	w := &watchdog{inactivity: inactivity, abortion: abortion, inactive: inactive, aborted: aborted}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.inactivity, w.fire)
	return w
}

func (w *watchdog) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
	case w.asked:
		w.aborted()
	default:
		w.asked = true
		w.inactive()
		w.timer.Reset(w.abortion)
	}
}

// touch notes that something was sent or received.
func (w *watchdog) touch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
	case w.asked:
		w.timer.Reset(w.abortion)
	default:
		w.timer.Reset(w.inactivity)
	}
}

// ended notes that the request has ended anyway.
func (w *watchdog) ended() {
	w.mu.Lock()
	w.asked = true
	w.mu.Unlock()
	w.touch()
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
