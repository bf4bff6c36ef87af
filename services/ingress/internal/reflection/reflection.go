// Package reflection describes the callable services to clients such as grpcurl.
package reflection

import (
	"net/http"
	"slices"
	"sync/atomic"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/restate-go/restate/pkg/schema"
)

// builtinPrefix is the folder of the files that belong to no endpoint.
const builtinPrefix = "self_ingress"

// Reflection answers for the public services of the current snapshot and for the built-in ones. Every file is named
// {endpoint id}/{name}, for the same name means different files at different endpoints.
type Reflection struct {
	snapshot func() *schema.Snapshot
	builtins []protoreflect.ServiceDescriptor
	current  atomic.Pointer[index]
}

// New returns the reflection of the snapshots and of the given built-in services.
func New(snapshot func() *schema.Snapshot, builtins []protoreflect.ServiceDescriptor) *Reflection {
	return &Reflection{snapshot: snapshot, builtins: builtins}
}

// Handlers returns the handlers of both versions of the protocol by path.
func (r *Reflection) Handlers(options ...connect.HandlerOption) map[string]http.Handler {
	reflector := grpcreflect.NewReflector(r,
		grpcreflect.WithDescriptorResolver(r),
		// Services of the 2023 generation have no extensions that a client could use.
		grpcreflect.WithExtensionResolver(new(protoregistry.Types)),
	)
	const method = "ServerReflectionInfo"
	v1, handlerV1 := grpcreflect.NewHandlerV1(reflector, options...)
	v1Alpha, handlerV1Alpha := grpcreflect.NewHandlerV1Alpha(reflector, options...)
	return map[string]http.Handler{v1 + method: handlerV1, v1Alpha + method: handlerV1Alpha}
}

// Names implements grpcreflect.Namer.
func (r *Reflection) Names() []string {
	var names []string
	for _, service := range r.builtins {
		names = append(names, string(service.FullName()))
	}
	for _, service := range r.snapshot().Services() {
		if service.Public && service.Descriptor != nil {
			names = append(names, service.Name)
		}
	}
	slices.Sort(names)
	return names
}

// FindFileByPath implements protodesc.Resolver.
func (r *Reflection) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if file, ok := r.index().files[path]; ok {
		return file, nil
	}
	return nil, protoregistry.NotFound
}

// FindDescriptorByName implements protodesc.Resolver.
func (r *Reflection) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if found, ok := r.index().symbols[name]; ok {
		return found, nil
	}
	return nil, protoregistry.NotFound
}

// index returns the index of the current snapshot, which is built for the first request after a change.
func (r *Reflection) index() *index {
	snapshot := r.snapshot()
	current := r.current.Load()
	if current != nil && current.snapshot == snapshot {
		return current
	}
	built := newIndex(snapshot, r.builtins)
	r.current.CompareAndSwap(current, built)
	return built
}
