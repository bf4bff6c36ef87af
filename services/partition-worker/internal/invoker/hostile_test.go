package invoker

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	wirev5 "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

const contentType = "application/vnd.restate.invocation.v7"

// frameOf is a message as an endpoint sends it.
func frameOf(kind frame.Type, m proto.Message) []byte {
	payload, err := proto.Marshal(m)
	if err != nil {
		panic(http.ErrAbortHandler) //nolint:forbidigo // this is how net/http is told
	}
	return frame.Append(nil, frame.Frame{Type: kind, Payload: payload})
}

// begins begins an answer; what is written goes out at once.
func begins(w http.ResponseWriter) io.Writer {
	w.Header().Set("Content-Type", contentType)
	return flushing{w, http.NewResponseController(w)}
}

type flushing struct {
	http.ResponseWriter
	controller *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err != nil {
		return n, err
	}
	return n, f.controller.Flush()
}

// answers is a service that does what it is asked for.
func answers(w http.ResponseWriter, _ *http.Request) {
	out := begins(w)
	_, _ = out.Write(frameOf(wire.TypeOutput, &wirev5.OutputCommand{
		Result: &wirev5.OutputCommand_Value{Value: &wirev5.Value{Content: []byte("done")}},
	}))
	_, _ = out.Write(frameOf(wire.TypeEnd, &wirev5.End{}))
}

// hangs is one that takes requests and never answers.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestHangingServiceLeavesPlaces(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.ConcurrencyLimit = 8 },
		serve(t, map[string]http.HandlerFunc{"Hangs": hangs, "Answers": answers}))
	for range 30 {
		w.start("Hangs")
	}
	for range 20 {
		end := w.awaitEnd(t, w.start("Answers"))
		require.Equal(t, "done", string(end.GetEnded().GetOutput().GetValue()))
	}
}

// every writes again and again, until the client has gone.
func every(r *http.Request, interval time.Duration, write func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			write()
		case <-r.Context().Done():
			return
		}
	}
}

// Whatever keeps a stream busy and gets the handler no further does not keep the attempt going.
func TestAttemptsWithoutProgressEnd(t *testing.T) {
	awaiting := frameOf(wire.TypeAwaitingOn, &wirev5.AwaitingOn{AwaitingOn: &wirev5.Future{WaitingSignals: []uint32{17}}})
	for name, c := range map[string]struct {
		configure func(*Config)
		handler   http.HandlerFunc
		code      errcode.Code
	}{
		"a message byte by byte": {impatient, func(w http.ResponseWriter, r *http.Request) {
			out := begins(w)
			_, _ = out.Write([]byte{0x04, 0x01, 0, 0, 0, 0x10, 0, 0})
			every(r, 10*time.Millisecond, func() { _, _ = out.Write([]byte{0}) })
		}, errcode.AttemptAborted},
		"messages for show": {impatient, func(w http.ResponseWriter, r *http.Request) {
			out := begins(w)
			every(r, 10*time.Millisecond, func() { _, _ = out.Write(awaiting) })
		}, errcode.AttemptAborted},
		"a flood of messages for show": {once, func(w http.ResponseWriter, r *http.Request) {
			out, many := begins(w), bytes.Repeat(awaiting, 1000)
			for r.Context().Err() == nil {
				_, _ = out.Write(many)
			}
		}, errcode.ProtocolViolated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.configure, serve(t, map[string]http.HandlerFunc{"Hostile": c.handler, "Answers": answers}))
			code, message := w.awaitFailure(t, w.start("Hostile"))
			require.Equal(t, string(c.code), code, message)
			w.awaitEnd(t, w.start("Answers"))
		})
	}
}

// A handler that waits for one result after the other says so each time.
func TestMessagesForShowOfLongJournals(t *testing.T) {
	const length = 1000
	w := newWorld(t, once, serve(t, map[string]http.HandlerFunc{"Waits": func(w http.ResponseWriter, r *http.Request) {
		awaiting := frameOf(wire.TypeAwaitingOn, &wirev5.AwaitingOn{AwaitingOn: &wirev5.Future{WaitingSignals: []uint32{17}}})
		_, _ = begins(w).Write(bytes.Repeat(awaiting, maxShown+length))
		answers(w, r)
	}}))
	id := w.startAgain("Waits", length)
	await.True(t, await.Deadline, func() bool {
		view, _ := w.invoker.View(id)
		require.Empty(t, view.LastFailure)
		return w.end(id) != nil
	}, "the run to end")
}

// An endpoint that asks for more and more and takes nothing loses its attempt, and nobody waits for it.
func TestResultsThatNobodyReads(t *testing.T) {
	large := make([]byte, 1<<20)
	w := newWorld(t, once, serve(t, map[string]http.HandlerFunc{
		"Answers": answers,
		"Hostile": func(w http.ResponseWriter, r *http.Request) {
			out := begins(w)
			for id := uint32(1); r.Context().Err() == nil; id++ {
				_, _ = out.Write(frameOf(wire.TypeRun, &wirev5.RunCommand{ResultCompletionId: id}))
				_, _ = out.Write(frameOf(wire.TypeProposeRunCompletion, &wirev5.ProposeRunCompletion{
					ResultCompletionId: id, Result: &wirev5.ProposeRunCompletion_Value{Value: large},
				}))
			}
		},
	}))
	code, message := w.awaitFailure(t, w.start("Hostile"))
	require.Equal(t, string(errcode.ResultsUnread), code, message)
	w.awaitEnd(t, w.start("Answers"))
}

// The text of an error is kept in part only.
func TestLongErrors(t *testing.T) {
	w := newWorld(t, once, serve(t, map[string]http.HandlerFunc{"Hostile": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = begins(w).Write(frameOf(wire.TypeError, &wirev5.Error{Code: 500, Message: strings.Repeat("x", 1<<20)}))
	}}))
	code, message := w.awaitFailure(t, w.start("Hostile"))
	require.Equal(t, string(errcode.ServiceFailed), code)
	require.LessOrEqual(t, len(message), frame.MaxErrorText)
}

// runsForEver gives one command after the other, each with a name of the length.
func runsForEver(name int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out := begins(w)
		for id := uint32(1); r.Context().Err() == nil; id++ {
			_, _ = out.Write(frameOf(wire.TypeRun, &wirev5.RunCommand{ResultCompletionId: id, Name: strings.Repeat("x", name)}))
		}
	}
}

// A journal does not grow without end: the invocation is paused, and what it has stored stays within the limit.
func TestEndlessJournals(t *testing.T) {
	for name, c := range map[string]struct {
		configure func(*Config)
		handler   http.HandlerFunc
		stored    int
	}{
		"entries": {func(cfg *Config) { cfg.JournalLengthLimit = 100 }, runsForEver(1), 100},
		"bytes":   {func(cfg *Config) { cfg.JournalSizeLimit = 64 << 10 }, runsForEver(1 << 10), 64},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.configure, serve(t, map[string]http.HandlerFunc{"Hostile": c.handler}))
			id := w.start("Hostile")
			require.Equal(t, string(errcode.JournalTooLarge), w.awaitEnd(t, id).GetPaused().GetCode())
			length := w.length(id)
			require.LessOrEqual(t, length, c.stored)
			require.Greater(t, length, c.stored/2)
		})
	}
}

// Results count as well: one whose journal has grown by them beyond what may be read is paused before the next attempt.
func TestJournalThatIsTooLongToRead(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.JournalLengthLimit = 3 }, serve(t, map[string]http.HandlerFunc{"Answers": answers}))
	id := w.startAgain("Answers", 4)
	require.Equal(t, string(errcode.JournalTooLarge), w.awaitEnd(t, id).GetPaused().GetCode())
	w.awaitEnd(t, w.startAgain("Answers", 3))
}

// Attempts that send the better part of a large message and no more do not fill the memory, nor take it from others.
func TestMessagesThatDoNotEnd(t *testing.T) {
	large := make([]byte, 1<<20)
	w := newWorld(t, func(cfg *Config) {
		once(cfg)
		cfg.MemoryLimit = 16 << 20
	}, serve(t, map[string]http.HandlerFunc{
		"Hostile": func(w http.ResponseWriter, r *http.Request) {
			out := begins(w)
			_, _ = out.Write([]byte{0x04, 0x01, 0, 0, 0, 0x60, 0, 0})
			for range 5 {
				_, _ = out.Write(large)
			}
			<-r.Context().Done()
		},
		"Answers": func(w http.ResponseWriter, _ *http.Request) {
			out := begins(w)
			_, _ = out.Write(frameOf(wire.TypeOutput, &wirev5.OutputCommand{
				Result: &wirev5.OutputCommand_Value{Value: &wirev5.Value{Content: large}},
			}))
			_, _ = out.Write(frameOf(wire.TypeEnd, &wirev5.End{}))
		},
	}))
	var refused int
	var hostile []ids.InvocationID
	for range 8 {
		hostile = append(hostile, w.start("Hostile"))
	}
	await.True(t, await.Deadline, func() bool {
		refused = 0
		for _, id := range hostile {
			if view, _ := w.invoker.View(id); view.LastFailureCode == string(errcode.MemoryExhausted) {
				refused++
			}
		}
		return refused >= 6
	}, "most attempts to be refused memory")
	end := w.awaitEnd(t, w.start("Answers"))
	require.Len(t, end.GetEnded().GetOutput().GetValue(), len(large))
}

// A journal for which there is no memory is read again when there is some. That does not count as an attempt.
func TestJournalWithoutMemory(t *testing.T) {
	w := newWorld(t, func(cfg *Config) {
		cfg.MemoryLimit = 16 << 20
		cfg.RetryPolicy.MaxAttempts = 1
	}, serve(t, map[string]http.HandlerFunc{"Answers": answers}))
	require.True(t, w.invoker.memory.Take("Other", 10<<20))
	id := w.startWith("Answers", make([]byte, 6<<20))
	code, message := w.awaitFailure(t, id)
	require.Equal(t, string(errcode.MemoryExhausted), code, message)
	w.invoker.memory.Release("Other", 10<<20)
	require.NotNil(t, w.awaitEnd(t, id).GetEnded())
}

// A journal that does not fit even when all memory is free is not read in vain for ever.
func TestJournalLargerThanMemory(t *testing.T) {
	w := newWorld(t, func(cfg *Config) { cfg.MemoryLimit = 8 << 20 }, serve(t, map[string]http.HandlerFunc{"Answers": answers}))
	paused := w.awaitEnd(t, w.startWith("Answers", make([]byte, 6<<20))).GetPaused()
	require.Equal(t, string(errcode.JournalTooLarge), paused.GetCode())
}

// An attempt that is stopped ends at once, also when the service has begun to answer and says no more.
func TestStoppedAttemptsEnd(t *testing.T) {
	over := make(chan struct{})
	w := newWorld(t, func(cfg *Config) {
		once(cfg)
		cfg.ConcurrencyLimit = 1
		cfg.InactivityTimeout = config.Duration(time.Hour)
	}, serve(t, map[string]http.HandlerFunc{"Answers": answers, "Hostile": func(w http.ResponseWriter, r *http.Request) {
		_, _ = begins(w).Write(frameOf(wire.TypeRun, &wirev5.RunCommand{ResultCompletionId: 1}))
		<-r.Context().Done()
		close(over)
	}}))
	id := w.start("Hostile")
	await.True(t, await.Deadline, func() bool { return w.length(id) == 2 }, "the answer to begin")
	w.invoker.Abort(id, 1)
	w.awaitEnd(t, w.start("Answers"))
	select {
	case <-over:
	case <-time.After(await.Deadline):
		require.Fail(t, "the service does not learn of it")
	}
}
