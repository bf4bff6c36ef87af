package leadership

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Register adds the figures of what waits at the leader of the partition. They are 0 while this worker does not lead.
func (l *Leadership) Register(registerer prometheus.Registerer) error {
	gauge := func(name, help string, of func(*leader) int) error {
		return registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name, Help: help,
			ConstLabels: prometheus.Labels{"partition": strconv.FormatUint(uint64(l.cfg.Partition), 10)},
		}, func() float64 {
			l.mu.Lock()
			leader := l.leader
			l.mu.Unlock()
			if leader == nil {
				return 0
			}
			return float64(of(leader))
		}))
	}
	return errors.Join(
		gauge("restate_partition_log_queued_bytes", "Size of the records of the leader that wait for the log, by partition.",
			func(l *leader) int { return l.appender.QueuedBytes() }),
		gauge("restate_partition_timers", "Timers in memory, those due next, by partition.",
			func(l *leader) int { return l.timers.Len() }),
	)
}
