package suites

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/await"

	"github.com/restate-go/restate/e2e/process"
)

const (
	// crashesInOneProcess and crashesApart are how often a process is killed unless E2E_CRASHES says otherwise.
	crashesInOneProcess = 12
	crashesApart        = 18
	clients             = 6
	// requestsForEach is how many requests there are for each crash, at least.
	requestsForEach = 6
	// settleTime is how long everything may take that was accepted before the last crash.
	settleTime = 90 * time.Second
)

// TestCrashLoop kills processes at random while clients use protobuf services, and send what was refused again. Then
// every request has its result, and what it did was done once. E2E_CRASHES and E2E_SEED set how often, and which.
func TestCrashLoop(t *testing.T) {
	eachCrash(t, protobufLoad{}, func(t *testing.T, mode process.Mode) setting {
		return start(t, mode, "RESTATE_WORKER__INVOKER__RETRY_POLICY__MAX_INTERVAL", "500ms")
	})
}

// TestCrashLoopOfHandlers does the same to handlers of today's SDKs, which sleep, wait, are retried, cancelled and
// killed meanwhile.
func TestCrashLoopOfHandlers(t *testing.T) {
	eachCrash(t, handlersLoad{}, func(t *testing.T, mode process.Mode) setting {
		s := startHandlers(t, mode)
		s.RegisterDeployment(goHandlers(t, nil))
		return s
	})
}

func eachCrash(t *testing.T, work workload, start func(*testing.T, process.Mode) setting) {
	t.Helper()
	for mode, crashes := range map[process.Mode]int{process.OneProcess: crashesInOneProcess, process.Apart: crashesApart} {
		t.Run(string(mode), func(t *testing.T) {
			crashLoop(t, start(t, mode), work, number(t, "E2E_CRASHES", crashes))
		})
	}
}

// number returns the number that a variable of the environment has, or else the given one.
func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, variable)
	return n
}

func crashLoop(t *testing.T, s setting, work workload, crashes int) {
	t.Helper()
	seed := uint64(number(t, "E2E_SEED", int(rand.Uint32())))
	t.Logf("E2E_SEED=%d", seed)
	running, stop := context.WithCancel(t.Context())
	patient, giveUp := context.WithCancel(t.Context())
	load := &load{
		setting: s, work: work, stop: running.Done(), late: patient.Done(), counters: map[string]int{}, lists: map[string]int{},
	}
	var done sync.WaitGroup
	defer func() {
		stop()
		giveUp()
		done.Wait()
	}()
	for i := range clients {
		done.Go(func() {
			c := &client{load: load, name: "client" + strconv.Itoa(i), random: rand.New(rand.NewPCG(seed, uint64(i)))}
			c.run(t)
		})
	}
	started := time.Now()
	kill(t, s, rand.New(rand.NewPCG(seed, clients)), crashes, func(crashes int) {
		await.True(t, settleTime, func() bool { return load.answered() >= requestsForEach*crashes || t.Failed() }, "requests to be answered")
	})
	stop()
	defer time.AfterFunc(settleTime, giveUp).Stop()
	done.Wait()
	if t.Failed() {
		return
	}
	s.AwaitIdle(settleTime)
	load.check(t)
	t.Logf("%d crashes in %s; %d requests, of which %d were sent more than once",
		crashes, time.Since(started).Round(time.Second), load.requests, load.repeated)
	require.Positive(t, load.repeated, "no request was hit by a crash")
}

// kill kills one process after the other, each of them as often, and the service too. When everything is there again, settled
// is called with the number of crashes so far.
func kill(t *testing.T, s setting, random *rand.Rand, crashes int, settled func(crashes int)) {
	var targets []string
	for n := range crashes {
		if len(targets) == 0 {
			targets = append([]string{"service"}, s.Names()...)
			random.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
		}
		//nolint:forbidigo // a crash is to come at any moment
		time.Sleep(time.Duration(100+random.IntN(600)) * time.Millisecond)
		target := targets[0]
		targets = targets[1:]
		if target == "service" {
			s.service.Restart()
			continue
		}
		s.Processes[target].Kill()
		//nolint:forbidigo // the others are to notice
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		s.Processes[target].Start()
		// Some crashes come while the last one is being recovered from.
		if random.IntN(3) > 0 {
			s.AwaitReady()
			settled(n + 1)
		}
		if t.Failed() {
			return
		}
	}
	s.AwaitReady()
	settled(crashes)
}
