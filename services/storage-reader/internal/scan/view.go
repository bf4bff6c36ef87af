package scan

import (
	"context"

	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/keyspace"
	"github.com/restate-go/restate/pkg/storage"
	"github.com/restate-go/restate/pkg/storage/kv"
)

// View is what is committed in all partitions.
type View struct {
	Layout     keyspace.Layout
	Partitions []kv.Reader
}

// Invocation returns the record of an invocation, nil when it is unknown.
func (v View) Invocation(id ids.InvocationID) (*storagev1.Invocation, error) {
	return storage.GetInvocation(v.of(id), id)
}

// of returns the partition that the invocation is in.
func (v View) of(id ids.InvocationID) kv.Reader {
	return v.Partitions[v.Layout.PartitionOf(id.PartitionKey())]
}

// stretch is a part of what a partition stores: the keys in [lower, upper).
type stretch struct {
	partition    uint32
	lower, upper []byte
}

// checkEvery is how many stored rows are looked at before the context is asked whether it goes on.
const checkEvery = 1024

// each visits the rows of a stretch until visit returns false or an error.
func (v View) each(ctx context.Context, s stretch, visit func(kv.Iterator) (bool, error)) error {
	it := v.Partitions[s.partition].Scan(s.lower, s.upper)
	defer it.Close()
	for n := 1; it.Next(); n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if more, err := visit(it); err != nil || !more {
			return err
		}
	}
	return it.Err()
}
