package scan

import (
	"bytes"
	"context"
	"encoding/binary"

	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/storage-reader/internal/domain"
)

// The keys of these tables begin with the number of a partition, so that their rows come partition by partition.
const (
	partitionSize = 8
	// orderedSize is where the next field is an integer too, by which our table is ordered.
	orderedSize = 16
)

// eachPartition calls visit for the partitions that the filter may admit rows of, until visit returns false.
func eachPartition(v View, f *Filter, visit func(partition uint32, prefix []byte) (bool, error)) error {
	for i := range v.Partitions {
		partition := uint32(i)
		prefix := appendUint64(nil, uint64(partition))
		if !f.admits(prefix) {
			continue
		}
		if more, err := visit(partition, prefix); err != nil || !more {
			return err
		}
	}
	return nil
}

// from returns the least value of the field after the partition that a key of the partition can have.
func (f *Filter) from(prefix []byte) uint64 {
	if len(f.lower) < orderedSize || !bytes.HasPrefix(f.lower, prefix) {
		return 0
	}
	return binary.BigEndian.Uint64(f.lower[partitionSize:])
}

// eachOrdered visits the rows of a table of ours whose keys begin with an integer that the key has too, until visit
// returns false. What is behind the upper bound is not looked at.
func eachOrdered(
	ctx context.Context, v View, t storage.Table, f *Filter, visit func(partition uint32, prefix []byte, it kv.Iterator) (bool, error),
) error {
	return eachPartition(v, f, func(partition uint32, prefix []byte) (bool, error) {
		_, upper := storage.TableRange(t)
		lower := appendUint64([]byte{byte(t)}, f.from(prefix))
		more := true
		err := v.each(ctx, stretch{partition, lower, upper}, func(it kv.Iterator) (bool, error) {
			key := it.Key()
			if len(key) < 1+8 {
				return false, storage.ErrCorrupt
			}
			prefix = append(prefix[:partitionSize], key[1:1+8]...)
			if f.behind(prefix) {
				return false, nil
			}
			if !f.admits(prefix) {
				return true, nil
			}
			var err error
			more, err = visit(partition, prefix, it)
			return more, err
		})
		return more, err
	})
}

// deduplication is what partitions took from each other. Our table has other producers too, which have no number.
type deduplication struct{}

func (deduplication) sorted() int { return partitionSize }

func (deduplication) units(ctx context.Context, v View, f *Filter, visit func(unit) bool) error {
	return eachPartition(v, f, func(partition uint32, prefix []byte) (bool, error) {
		lower, upper := storage.TableRange(storage.TableDeduplication)
		more := true
		err := v.each(ctx, stretch{partition, lower, upper}, func(it kv.Iterator) (bool, error) {
			name, err := storage.ParseDeduplicationKey(it.Key())
			if err != nil {
				return false, err
			}
			producer, ok := storage.ParsePartitionProducer(name)
			if !ok {
				return true, nil
			}
			u := unit{key: appendUint64(prefix[:partitionSize], uint64(producer)), partition: partition, stored: it.Key()}
			more = !f.admits(u.key) || visit(u)
			return more, nil
		})
		return more, err
	})
}

func (deduplication) rows(v View, u unit, after []byte, emit emitter) error {
	if after != nil {
		return nil
	}
	producer, err := storage.ParseDeduplicationKey(u.stored)
	if err != nil {
		return err
	}
	row, err := storage.GetDeduplication(v.Partitions[u.partition], producer)
	if err != nil || row == nil {
		return err
	}
	return emit(u.key, appendUint64(nil, row.GetSequence()), "")
}

// The rows of machine.
const (
	nextInboxSequence  = 0
	nextOutboxSequence = 1
)

// machine is numbers out of the one row that a partition has about itself.
type machine struct{}

func (machine) sorted() int { return orderedSize }

func (machine) units(_ context.Context, v View, f *Filter, visit func(unit) bool) error {
	return eachPartition(v, f, func(partition uint32, prefix []byte) (bool, error) {
		for _, id := range []uint64{nextInboxSequence, nextOutboxSequence} {
			u := unit{key: appendUint64(prefix[:partitionSize], id), partition: partition}
			if f.admits(u.key) && !visit(u) {
				return false, nil
			}
		}
		return true, nil
	})
}

func (machine) rows(v View, u unit, after []byte, emit emitter) error {
	if after != nil {
		return nil
	}
	meta, err := storage.GetMeta(v.Partitions[u.partition])
	if err != nil || meta.GetAppliedSequence() == 0 {
		return err
	}
	value := meta.GetNextInboxSequence()
	if binary.BigEndian.Uint64(u.key[partitionSize:]) == nextOutboxSequence {
		value = meta.GetNextOutboxSequence()
	}
	return emit(u.key, appendUint64(nil, value), "")
}

// outbox is rows of our table of the same name.
type outbox struct{}

func (outbox) sorted() int { return orderedSize }

func (outbox) units(ctx context.Context, v View, f *Filter, visit func(unit) bool) error {
	return eachOrdered(ctx, v, storage.TableOutbox, f, func(partition uint32, prefix []byte, _ kv.Iterator) (bool, error) {
		return visit(unit{key: prefix, partition: partition}), nil
	})
}

func (outbox) rows(v View, u unit, after []byte, emit emitter) error {
	if after != nil {
		return nil
	}
	stored, err := storage.GetOutbox(v.Partitions[u.partition], binary.BigEndian.Uint64(u.key[partitionSize:]))
	if err != nil || stored == nil {
		return err
	}
	message, err := outboxMessage(v, stored)
	if err != nil {
		return err
	}
	return emit.message(u.key, message, "")
}

// timers is rows of our table of the same name: sleeps and delayed calls. Our third kind, which drops results that were
// kept long enough, is none of a service's.
type timers struct{}

func (timers) sorted() int { return orderedSize }

func (timers) units(ctx context.Context, v View, f *Filter, visit func(unit) bool) error {
	return eachOrdered(ctx, v, storage.TableTimer, f, func(partition uint32, prefix []byte, it kv.Iterator) (bool, error) {
		id, err := storage.ParseTimerKey(it.Key())
		if err != nil {
			return false, err
		}
		owner, index, err := timerOwner(v, id)
		if err != nil || owner == nil {
			return true, err
		}
		key := appendBytes(prefix[:orderedSize], owner.GetServiceName())
		key = appendBytes(key, owner.GetServiceKey())
		key = appendBytes(key, owner.GetInvocationId())
		u := unit{key: appendUint32(key, index), partition: partition, stored: it.Key()}
		return !f.admits(u.key) || visit(u), nil
	})
}

func (timers) rows(v View, u unit, after []byte, emit emitter) error {
	if after != nil {
		return nil
	}
	id, err := storage.ParseTimerKey(u.stored)
	if err != nil {
		return err
	}
	stored, err := storage.GetTimer(v.Partitions[u.partition], u.stored)
	if err != nil || stored == nil {
		return err
	}
	owner, _, err := timerOwner(v, id)
	if err != nil || owner == nil {
		return err
	}
	if id.Kind == storage.TimerSleep {
		return emit.message(u.key, domain.SleepTimer(), owner.GetPrintableId())
	}
	due, err := serviceInvocation(v, id.Invocation)
	if err != nil || due == nil {
		return err
	}
	return emit.message(u.key, domain.CallTimer(due), owner.GetPrintableId())
}

// timerOwner returns the invocation that set the timer, and which step of it did; nil for a timer that has no row.
func timerOwner(v View, id storage.TimerID) (owner *domainv1.ServiceInvocationId, index uint32, err error) {
	if id.Kind != storage.TimerSleep && id.Kind != storage.TimerStart {
		return nil, 0, nil
	}
	invocation, err := v.Invocation(id.Invocation)
	if err != nil || invocation == nil {
		return nil, 0, err
	}
	if id.Kind == storage.TimerSleep {
		return domain.InvocationID(id.Invocation, invocation.GetTarget()), id.CompletionID, nil
	}
	if len(invocation.GetCallerInvocationId()) == 0 {
		// Nobody but the call itself: it came from outside.
		return domain.InvocationID(id.Invocation, invocation.GetTarget()), 0, nil
	}
	caller, err := ids.InvocationIDFromBytes(invocation.GetCallerInvocationId())
	if err != nil {
		return nil, 0, err
	}
	return domain.InvocationID(caller, invocation.GetCallerTarget()), invocation.GetCallerCommandIndex(), nil
}
