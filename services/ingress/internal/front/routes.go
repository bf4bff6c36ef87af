package front

import (
	"github.com/restate-go/restate/pkg/schema"
)

// routes are the procedures of one snapshot, built when the first request after a change arrives.
type routes struct {
	snapshot *schema.Snapshot
	byPath   map[string]route
}

type route struct {
	procedure *procedure
	public    bool
}

func (f *Front) currentRoutes() *routes {
	snapshot := f.deps.Snapshot()
	current := f.routes.Load()
	if current != nil && current.snapshot == snapshot {
		return current
	}
	// Requests that come at the same moment may build the same routes twice; that is cheaper than a lock for all.
	built := &routes{snapshot: snapshot, byPath: make(map[string]route)}
	for _, service := range snapshot.Services() {
		if service.Descriptor == nil {
			continue // has no messages that could be spoken of
		}
		for _, method := range service.Methods {
			path := "/" + service.Name + "/" + method.Name
			built.byPath[path] = route{procedure: f.procedureOf(current, service, method, path), public: service.Public}
		}
	}
	f.routes.CompareAndSwap(current, built)
	return built
}

// procedureOf keeps what has not changed, with its warm buffers. Snapshots share the methods of unchanged endpoints.
func (f *Front) procedureOf(previous *routes, service *schema.Service, method *schema.Method, path string) *procedure {
	if previous != nil {
		if known, ok := previous.byPath[path]; ok && known.procedure.method == method {
			return known.procedure
		}
	}
	return f.newProcedure(service, method, path)
}
