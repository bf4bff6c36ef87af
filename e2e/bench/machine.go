package bench

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"
)

// processor returns the name of the processor, empty where the system does not tell.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		if name, found := strings.CutPrefix(line, "model name"); found {
			return strings.Trim(name, "\t :\n")
		}
	}
	return ""
}

// syncTime returns how long the disk of the folder takes to make a small write durable: the median of some.
func syncTime(dir string) (took time.Duration, err error) {
	file, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	const writes, size = 101, 4 << 10
	times := make([]time.Duration, 0, writes)
	for range writes {
		began := time.Now()
		if _, err := file.Write(make([]byte, size)); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return times[writes/2], nil
}
