package scan

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	domainv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/domain/v1"
	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"

	"github.com/restate-go/restate/services/storage-reader/internal/domain"
)

// The tables of service instances begin their keys with the low half of the partition key, then service and service
// key. Ours are ordered by the whole partition key, so what they hold comes in no useful order.

// serviceKeyField is the index of the service key among the fields of such a key.
const serviceKeyField = 2

// appendInstance encodes the beginning of a key.
func appendInstance(dst []byte, i storage.Instance) []byte {
	dst = appendUint32(dst, lowHalf(i.PartitionKey))
	dst = appendBytes(dst, i.Service)
	return appendBytes(dst, i.Key)
}

// instanceIn reads the beginning of a key, whose partition key is known.
func instanceIn(key []byte, partitionKey uint64) (storage.Instance, error) {
	var service, serviceKey []byte
	rest, ok := key, len(key) >= 4
	if ok {
		service, rest, ok = cutBytes(rest[4:])
	}
	if ok {
		serviceKey, _, ok = cutBytes(rest)
	}
	if !ok {
		return storage.Instance{}, fmt.Errorf("%x: %w", key, errKey)
	}
	return storage.Instance{PartitionKey: partitionKey, Service: string(service), Key: serviceKey}, nil
}

// lowHalf is the partition key as releases of the time had it, with 32 bits.
func lowHalf(partitionKey uint64) uint32 { return uint32(partitionKey) } //nolint:gosec // the low half is meant

// uuidSize is the length of the service keys that the runtime makes up for unkeyed services.
const uuidSize = 16

// instanceStretches returns where the rows of a table of ours are whose keys begin with a partition key. A filter for one
// service key needs no more than the rows of its partition keys: what is hashed for one of 2023 differs from today's. The
// instances of a scope, whose partition key is a hash of that, are not found so.
func instanceStretches(v View, t storage.Table, f *Filter) []stretch {
	if encoded := f.exact[serviceKeyField]; encoded != nil {
		// The partition key of an unkeyed invocation does not always follow from its service key.
		if key := content(encoded); len(key) != uuidSize {
			var stretches []stretch
			for _, partitionKey := range []uint64{keyspace.HashKey(key), keyspace.HashText(string(key))} {
				lower := binary.BigEndian.AppendUint64([]byte{byte(t)}, partitionKey)
				stretches = append(stretches, stretch{v.Layout.PartitionOf(partitionKey), lower, storage.PrefixEnd(lower)})
			}
			return stretches
		}
	}
	stretches := make([]stretch, len(v.Partitions))
	for i := range stretches {
		lower, upper := storage.TableRange(t)
		stretches[i] = stretch{uint32(i), lower, upper}
	}
	return stretches
}

// eachOfInstances visits the rows of such a table that the filter may admit, as far as the partition key tells.
func eachOfInstances(ctx context.Context, v View, t storage.Table, f *Filter, visit func(uint32, kv.Iterator) (bool, error)) error {
	var half [4]byte
	for _, s := range instanceStretches(v, t, f) {
		stopped := false
		if err := v.each(ctx, s, func(it kv.Iterator) (bool, error) {
			key := it.Key()
			if len(key) < 1+8 {
				return false, storage.ErrCorrupt
			}
			copy(half[:], key[1+4:])
			if !f.admits(half[:]) {
				return true, nil
			}
			more, err := visit(s.partition, it)
			stopped = !more
			return more, err
		}); err != nil || stopped {
			return err
		}
	}
	return nil
}

// state is rows of our table of the same name.
type state struct{}

func (state) sorted() int { return 0 }

func (state) units(ctx context.Context, v View, f *Filter, visit func(unit) bool) error {
	return eachOfInstances(ctx, v, storage.TableState, f, func(partition uint32, it kv.Iterator) (bool, error) {
		instance, key, err := storage.ParseStateKey(it.Key())
		if err != nil {
			return false, err
		}
		u := unit{key: appendBytes(appendInstance(nil, instance), key), partition: partition, stored: it.Key()}
		return !f.admits(u.key) || visit(u), nil
	})
}

func (state) rows(v View, u unit, after []byte, emit emitter) error {
	if after != nil {
		return nil
	}
	value, ok, err := v.Partitions[u.partition].Get(u.stored)
	if err != nil || !ok {
		return err
	}
	return emit(u.key, value, "")
}

// inbox is rows of our table of the same name, with the invocations that they name.
type inbox struct{}

func (inbox) sorted() int { return 0 }

func (inbox) units(ctx context.Context, v View, f *Filter, visit func(unit) bool) error {
	return eachOfInstances(ctx, v, storage.TableInbox, f, func(partition uint32, it kv.Iterator) (bool, error) {
		instance, sequence, err := storage.ParseInboxKey(it.Key())
		if err != nil {
			return false, err
		}
		u := unit{key: appendUint64(appendInstance(nil, instance), sequence), partition: partition, stored: it.Key()}
		return !f.admits(u.key) || visit(u), nil
	})
}

func (inbox) rows(v View, u unit, after []byte, emit emitter) error {
	if after != nil {
		return nil
	}
	id, ok, err := storage.GetInbox(v.Partitions[u.partition], u.stored)
	if err != nil || !ok {
		return err
	}
	waiting, err := serviceInvocation(v, id)
	if err != nil || waiting == nil {
		return err
	}
	return emit.message(u.key, &domainv1.InboxEntry{ServiceInvocation: waiting}, id.String())
}

// status is the invocations that hold a service instance: those that run or are suspended.
type status struct{}

func (status) sorted() int { return 0 }

func (status) units(ctx context.Context, v View, f *Filter, visit func(unit) bool) error {
	return eachOfInstances(ctx, v, storage.TableInvocation, f, func(partition uint32, it kv.Iterator) (bool, error) {
		id, invocation, err := storage.ParseInvocation(it.Key(), it.Value())
		if err != nil {
			return false, err
		}
		if !inProgress(invocation) {
			return true, nil
		}
		instance := storage.InstanceOf(id, invocation.GetTarget())
		if held, err := holds(v.Partitions[partition], instance, id, invocation); err != nil || !held {
			return err == nil, err
		}
		u := unit{key: appendInstance(nil, instance), partition: partition, stored: it.Key()}
		return !f.admits(u.key) || visit(u), nil
	})
}

func (status) rows(v View, u unit, after []byte, emit emitter) error {
	if after != nil {
		return nil
	}
	id, invocation, err := holder(v, u)
	if err != nil || invocation == nil {
		return err
	}
	sink, err := responseSink(v, invocation)
	if err != nil {
		return err
	}
	return emit.message(u.key, domain.Status(id, invocation, sink), id.String())
}

// inProgress says whether the invocation has begun and is not over.
func inProgress(invocation *storagev1.Invocation) bool {
	state := invocation.GetState()
	return state == storagev1.Invocation_STATE_INVOKED || state == storagev1.Invocation_STATE_SUSPENDED
}

// holds says whether the invocation, which is in progress, is the one that its service instance has a row for.
func holds(reader kv.Reader, instance storage.Instance, id ids.InvocationID, invocation *storagev1.Invocation) (bool, error) {
	switch invocation.GetTarget().GetKind() {
	case journalv1.ServiceKind_SERVICE_KIND_KEYED, journalv1.ServiceKind_SERVICE_KIND_SINGLETON,
		journalv1.ServiceKind_SERVICE_KIND_WORKFLOW:
		lock, err := storage.GetLock(reader, instance)
		return lock != nil && bytes.Equal(lock.GetInvocationId(), id[:]), err
	case journalv1.ServiceKind_SERVICE_KIND_UNKEYED, journalv1.ServiceKind_SERVICE_KIND_UNSPECIFIED:
		return true, nil
	}
	return false, nil
}

// holder returns the invocation that holds the instance of the unit now; nil when there is none. It may be another one
// than the unit was made of.
func holder(v View, u unit) (ids.InvocationID, *storagev1.Invocation, error) {
	reader := v.Partitions[u.partition]
	id, err := storage.ParseInvocationKey(u.stored)
	if err != nil {
		return id, nil, err
	}
	invocation, err := storage.GetInvocation(reader, id)
	if err != nil || inProgress(invocation) {
		return id, invocation, err
	}
	instance, err := instanceIn(u.key, id.PartitionKey())
	if err != nil {
		return id, nil, err
	}
	lock, err := storage.GetLock(reader, instance)
	if err != nil || lock == nil {
		return id, nil, err
	}
	if id, err = ids.InvocationIDFromBytes(lock.GetInvocationId()); err != nil {
		return id, nil, err
	}
	if invocation, err = storage.GetInvocation(reader, id); err != nil || !inProgress(invocation) {
		return id, nil, err
	}
	return id, invocation, nil
}
