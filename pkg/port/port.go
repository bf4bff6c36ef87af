// Package port finds ports for tests and benchmarks to listen on.
package port

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	firstPort = 10000
	// firstEphemeral is where the ports begin that Linux gives to outgoing connections, unless it says otherwise.
	firstEphemeral = 32768
	// attempts is how many ports are tried before giving up.
	attempts = 1000
)

// given are the ports that this process has handed out. Until it ends it holds each for UDP, which nothing here speaks, so
// that tests of other processes do not get the same ones while nothing listens there.
type given struct {
	mu   sync.Mutex
	held []net.PacketConn
}

//nolint:gochecknoglobals // ports belong to the machine, so all of the process share them
var givenPorts = &given{}

// Free returns a loopback address that nothing listens on now, each only once on this machine. Its port is not one that
// the system gives to outgoing connections: a process that is killed and started again has to get the same port again,
// and a client that keeps dialing a port meanwhile must not meet itself there.
func Free(ctx context.Context) (string, error) {
	limit := ephemeral()
	for range attempts {
		port := firstPort + rand.IntN(limit-firstPort) //nolint:gosec // any free port will do
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if givenPorts.take(ctx, address) && !listens(ctx, address) {
			return address, nil
		}
	}
	return "", fmt.Errorf("found no free port in %d attempts", attempts)
}

// take returns false when a test has the address already.
func (g *given) take(ctx context.Context, address string) bool {
	conn, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", address)
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = append(g.held, conn)
	return true
}

// listens says whether something does at the address. It asks instead of listening there for a moment: a program that another
// test starts in that moment has the listener too until it runs, and then the port is in use after all.
func listens(ctx context.Context, address string) bool {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was sent
	return true
}

// dialTimeout is far more than the loopback takes.
const dialTimeout = time.Second

// ephemeral returns the first port that the system may give to an outgoing connection.
func ephemeral() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return firstEphemeral
	}
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return firstEphemeral
	}
	first, err := strconv.Atoi(fields[0])
	if err != nil || first <= firstPort {
		return firstEphemeral
	}
	return first
}
