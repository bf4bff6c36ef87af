package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what processes have used up, all together.
type usage struct {
	// cpu is the time of the processor since they were started.
	cpu time.Duration
	// rss is the memory in bytes that they hold at present.
	rss int64
}

// usageOf reads the usage of the processes.
func usageOf(pids []int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		u, err := readUsage(pid)
		if err != nil {
			return usage{}, fmt.Errorf("process %d: %w", pid, err)
		}
		sum.cpu += u.cpu
		sum.rss += u.rss
	}
	return sum, nil
}

// tick is the unit of times in /proc, which Linux has the same on all its machines.
const tick = 10 * time.Millisecond

func readUsage(pid int) (usage, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return usage{}, err
	}
	// The name of the program, in parentheses, may hold anything; the fields are counted after it.
	_, rest, found := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	fields := strings.Fields(rest)
	const user, system, pages = 11, 12, 21
	if !found || len(fields) <= pages {
		return usage{}, fmt.Errorf("its stat is %q", stat)
	}
	var values [3]int64
	for i, field := range []int{user, system, pages} {
		if values[i], err = strconv.ParseInt(fields[field], 10, 64); err != nil {
			return usage{}, err
		}
	}
	return usage{
		cpu: time.Duration(values[0]+values[1]) * tick, rss: values[2] * int64(os.Getpagesize()),
	}, nil
}

// meter reads what processes use up between two points in time.
type meter struct {
	server, endpoint             []int
	serverUsed, endpointUsed     usage
	serverBefore, endpointBefore usage
}

func (m *meter) begin() (err error) {
	if m.serverBefore, err = usageOf(m.server); err != nil {
		return err
	}
	m.endpointBefore, err = usageOf(m.endpoint)
	return err
}

func (m *meter) end() (err error) {
	if m.serverUsed, err = usageOf(m.server); err != nil {
		return err
	}
	if m.endpointUsed, err = usageOf(m.endpoint); err != nil {
		return err
	}
	m.serverUsed.cpu -= m.serverBefore.cpu
	m.endpointUsed.cpu -= m.endpointBefore.cpu
	return nil
}
