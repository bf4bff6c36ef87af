package meta_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/restate-go/restate/pkg/await"
	"github.com/restate-go/restate/pkg/config"
	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/membership"
	"github.com/restate-go/restate/pkg/schema"
	discovery "github.com/restate-go/restate/proto/gen/dev/restate/service"
	storagev1 "github.com/restate-go/restate/proto/gen/restate/storage/v1"

	"github.com/restate-go/restate/services/meta"
)

func idOf(uri string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.TrimPrefix(uri, "http://") + "/"))
}

// of2023 leaves the members of a service that 2023 knew.
func (a response) of2023(t testing.TB) string {
	t.Helper()
	members := a.json(t).(map[string]any)
	known := map[string]any{}
	for _, name := range []string{"name", "methods", "instance_type", "endpoint_id", "revision", "public"} {
		known[name] = members[name]
	}
	text, err := json.Marshal(known)
	require.NoError(t, err)
	return string(text)
}

func TestRegister(t *testing.T) {
	r := start(t)
	uri := sdk(t, typedServices)
	id := idOf(uri)
	answer := r.call("POST", "/endpoints", fmt.Sprintf(`{"uri":%q,"additional_headers":{"x-api-key":"k"}}`, uri))
	require.Equal(t, 201, answer.status, answer.body)
	require.Equal(t, "/endpoints/"+id, answer.header.Get("Location"))
	const services = `[{"name":"seedera.Counter","revision":1},{"name":"seedera.Greeter","revision":1},{"name":"seedera.Single","revision":1},` +
		`{"name":"seedera.Composite","revision":1},{"name":"seedera.Events","revision":1},{"name":"plainSvc","revision":1},{"name":"keyedSvc","revision":1}]`
	require.JSONEq(t, `{"id":"`+id+`","services":`+services+`}`, answer.body)

	want := `{"id":"` + id + `","uri":"` + uri + `/","protocol_type":"BidiStream","additional_headers":{"x-api-key":"k"},"services":` + services + `}`
	require.JSONEq(t, want, r.call("GET", "/endpoints/"+id, "").body)
	require.JSONEq(t, `{"endpoints":[`+want+`]}`, r.call("GET", "/endpoints", "").body)

	for _, same := range []string{uri, uri + "/", uri + "//", strings.Replace(uri, "http://", "https://", 1), strings.ToUpper(uri[:4]) + uri[4:]} {
		again := r.call("POST", "/endpoints", registration(same, false))
		require.Equal(t, 409, again.status, same)
		message, code := again.failure(t)
		require.Equal(t, "META0004", code)
		require.Contains(t, message, id)
		require.Contains(t, message, "force")
		require.Equal(t, "/endpoints/"+id, again.header.Get("Location"))
	}
	forced := r.call("POST", "/endpoints", registration(uri, true))
	require.Equal(t, 201, forced.status)
	require.Contains(t, forced.body, `{"name":"seedera.Counter","revision":2}`)
	require.NotContains(t, r.call("GET", "/endpoints/"+id, "").body, "x-api-key")

	prefixed := r.call("POST", "/endpoints", registration(uri+"/v2/", false))
	require.Equal(t, 201, prefixed.status, "another path is another endpoint")
	require.Contains(t, prefixed.body, `{"name":"seedera.Counter","revision":3}`)
	require.Contains(t, r.call("GET", "/services/seedera.Counter", "").body, `"endpoint_id":"`+base64.RawURLEncoding.EncodeToString([]byte(uri[7:]+"/v2")))
}

func TestForceDropsWhatIsNoLongerServed(t *testing.T) {
	r := start(t)
	var body atomic.Value
	body.Store(captured(t, typedServices))
	uri := endpoint(t, func(w http.ResponseWriter, request *http.Request) { answering(body.Load().([]byte))(w, request) })
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(uri, false)).status)
	body.Store(captured(t, routerServices))
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(uri, true)).status)
	require.Equal(t, 404, r.call("GET", "/services/seedera.Counter", "").status)
	service := r.call("GET", "/services/my.pkg.Svc", "")
	require.JSONEq(t, `{"name":"my.pkg.Svc","instance_type":"Unkeyed","endpoint_id":"`+idOf(uri)+`","revision":1,"public":true,"methods":[
		{"name":"a","input_type":"RpcRequest","output_type":"RpcResponse"},{"name":"do-it","input_type":"RpcRequest","output_type":"RpcResponse"}]}`, service.of2023(t))
	require.Len(t, r.call("GET", "/services", "").json(t).(map[string]any)["services"], 1)
	require.Contains(t, r.call("GET", "/endpoints/"+idOf(uri), "").body, `"protocol_type":"RequestResponse"`)
}

func TestServices(t *testing.T) {
	r := start(t)
	require.JSONEq(t, `{"services":[]}`, r.call("GET", "/services", "").body)
	require.JSONEq(t, `{"endpoints":[]}`, r.call("GET", "/endpoints", "").body)
	uri := sdk(t, typedServices)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(uri, false)).status)
	const methods = `[{"name":"Get","input_type":"seedera.CounterRequest","output_type":"seedera.CounterValue","key_field_number":1},
		{"name":"Add","input_type":"seedera.AddRequest","output_type":"seedera.CounterValue","key_field_number":3},
		{"name":"Clear","input_type":"seedera.CounterRequest","output_type":"google.protobuf.Empty","key_field_number":1}]`
	counter := func(public bool) string {
		return fmt.Sprintf(`{"name":"seedera.Counter","instance_type":"Keyed","endpoint_id":%q,"revision":1,"public":%t,"methods":%s}`, idOf(uri), public, methods)
	}
	require.JSONEq(t, counter(true), r.call("GET", "/services/seedera.Counter", "").of2023(t))
	require.JSONEq(t, `{"methods":`+methods+`}`, r.call("GET", "/services/seedera.Counter/methods", "").body)
	require.JSONEq(t, `{"name":"Add","input_type":"seedera.AddRequest","output_type":"seedera.CounterValue","key_field_number":3}`,
		r.call("GET", "/services/seedera.Counter/methods/Add", "").body)

	hidden := r.call("PATCH", "/services/seedera.Counter", `{"public":false}`)
	require.Equal(t, 200, hidden.status)
	require.JSONEq(t, counter(false), hidden.of2023(t))
	require.JSONEq(t, counter(false), r.call("GET", "/services/seedera.Counter", "").of2023(t))

	descriptors := r.call("GET", "/services/seedera.Counter/descriptors", "")
	require.Equal(t, 200, descriptors.status)
	require.Equal(t, "application/x-protobuf", descriptors.header.Get("Content-Type"))
	files := &descriptorpb.FileDescriptorSet{}
	require.NoError(t, proto.Unmarshal([]byte(descriptors.body), files))
	loaded, err := protodesc.NewFiles(files)
	require.NoError(t, err)
	_, err = loaded.FindDescriptorByName("seedera.Counter")
	require.NoError(t, err)
}

func TestDeleteEndpoint(t *testing.T) {
	r := start(t)
	one, two := sdk(t, typedServices), sdk(t, routerServices)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(one, false)).status)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(two, false)).status)
	require.Equal(t, 503, r.call("DELETE", "/endpoints/"+idOf(one), "").status, "nobody can tell whether it is used")
	pinned := viewOf(newID(t, 1), "seedera.Counter", idOf(one), 0, storagev1.Invocation_STATE_SUSPENDED)
	elsewhere := viewOf(newID(t, 2), "my.pkg.Svc", "another", 0, storagev1.Invocation_STATE_INVOKED)
	r.work("one", pinned, elsewhere)
	for _, query := range []string{"", "?force=false"} {
		refused := r.call("DELETE", "/endpoints/"+idOf(one)+query, "")
		require.Equal(t, 409, refused.status)
		message, code := refused.failure(t)
		require.Equal(t, "META0409", code)
		require.Contains(t, message, "is needed by 1 invocation: "+ids.InvocationID(pinned.GetInvocationId()).String()+" of seedera.Counter")
		require.Contains(t, message, "?force=true")
	}
	require.Equal(t, 400, r.call("DELETE", "/endpoints/"+idOf(one)+"?force=perhaps", "").status)
	require.Equal(t, 202, r.call("DELETE", "/endpoints/"+idOf(two), "").status, "what began elsewhere does not need it")
	require.Equal(t, 404, r.call("GET", "/services/my.pkg.Svc", "").status)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(two, false)).status)
	require.Equal(t, 202, r.call("DELETE", "/endpoints/"+idOf(one)+"?force=true", "").status)
	require.Equal(t, 404, r.call("GET", "/endpoints/"+idOf(one), "").status)
	require.Equal(t, 404, r.call("GET", "/services/seedera.Counter", "").status)
	require.Equal(t, 200, r.call("GET", "/services/my.pkg.Svc", "").status)
	require.Equal(t, 404, r.call("DELETE", "/endpoints/"+idOf(one)+"?force=true", "").status)
}

// A worker that has just started leads nothing yet, and one of the release before does not tell. What they list may not be all.
func TestEndpointIsNotRemovedUnseen(t *testing.T) {
	for name, c := range map[string]struct {
		workers []*worker
		status  int
		says    string
	}{
		"nobody leads":          {[]*worker{{}}, 503, "of 2 partitions, 2 have no leader"},
		"one partition is left": {[]*worker{{lists: []uint32{1}}, {}}, 503, "of 2 partitions, 1 have no leader"},
		"each has a leader":     {[]*worker{{lists: []uint32{1}}, {lists: []uint32{0}}}, 202, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			uri := sdk(t, typedServices)
			require.Equal(t, 201, r.call("POST", "/endpoints", registration(uri, false)).status)
			for i, w := range c.workers {
				r.serve(strconv.Itoa(i), w)
			}
			require.Equal(t, 200, r.call("GET", "/invocations", "").status, "a list is for people")
			removed := r.call("DELETE", "/endpoints/"+idOf(uri), "")
			require.Equal(t, c.status, removed.status, removed.body)
			if c.status == 202 {
				return
			}
			message, code := removed.failure(t)
			require.Equal(t, "META0503", code)
			require.Contains(t, message, c.says)
			require.Equal(t, 200, r.call("GET", "/endpoints/"+idOf(uri), "").status)
			require.Equal(t, 202, r.call("DELETE", "/endpoints/"+idOf(uri)+"?force=true", "").status)
		})
	}
}

// The endpoint is asked for, and then its service. A worker has to answer both.
func TestEndpointIsNotRemovedAfterHalfAnAnswer(t *testing.T) {
	r := start(t)
	uri := sdk(t, typedServices)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(uri, false)).status)
	// The other leads every partition, so that only the silence of this one counts.
	r.work("other")
	silent := &worker{}
	silent.refuses.Store(1)
	r.serve("silent", silent)
	removed := r.call("DELETE", "/endpoints/"+idOf(uri), "")
	require.Equal(t, 503, removed.status, removed.body)
	message, code := removed.failure(t)
	require.Equal(t, "META0503", code)
	require.Contains(t, message, "later")
	require.Equal(t, 202, r.call("DELETE", "/endpoints/"+idOf(uri), "").status)
}

func TestIncompatibleRevision(t *testing.T) {
	r := start(t)
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(sdk(t, typedServices), false)).status)
	changed := &discovery.ServiceDiscoveryResponse{}
	require.NoError(t, proto.Unmarshal(captured(t, typedServices), changed))
	for _, file := range changed.GetFiles().GetFile() {
		for _, service := range file.GetService() {
			for _, option := range service.GetOptions().GetUninterpretedOption() {
				option.IdentifierValue = proto.String("SINGLETON")
			}
		}
	}
	body, err := proto.Marshal(changed)
	require.NoError(t, err)
	uri := endpoint(t, answering(body))
	refused := r.call("POST", "/endpoints", registration(uri, false))
	require.Equal(t, 409, refused.status)
	message, code := refused.failure(t)
	require.Equal(t, "META0006", code)
	require.Contains(t, message, "was Keyed and would become Singleton")
	require.Equal(t, 404, r.call("GET", "/endpoints/"+idOf(uri), "").status, "nothing of it is registered")
	require.Equal(t, 201, r.call("POST", "/endpoints", registration(uri, true)).status)
}

// What discovery met reaches the caller, whatever the endpoint does, and harms nobody else.
func TestHostileEndpoints(t *testing.T) {
	r := start(t, func(c *meta.Config) {
		c.Discovery.MaxResponseSize, c.Discovery.Timeout = 64<<10, config.Duration(200*time.Millisecond)
	})
	body := func(contentType string, content []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(content)
		}
	}
	undeclared, err := proto.Marshal(&discovery.ServiceDiscoveryResponse{
		Files:    &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{Name: proto.String("dev/restate/ext.proto")}}},
		Services: []string{"x.Y"},
	})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		uri, code, says string
		status          int
	}{
		"nobody there": {"http://127.0.0.1:1", "META0003", "connection refused", 500},
		"a web page":   {endpoint(t, body("text/html", []byte("<html>"))), "META0003", "text/html", 500},
		"garbage":      {endpoint(t, body("application/proto", []byte("garbage"))), "META0003", "no discovery response", 500},
		"endless": {endpoint(t, func(w http.ResponseWriter, request *http.Request) {
			w.Header().Set("Content-Type", "application/proto")
			for request.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}), "META0003", "larger than", 500},
		"hanging":            {endpoint(t, func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() }), "META0003", "in time", 500},
		"a redirect":         {endpoint(t, http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP), "META0003", "redirect", 500},
		"bad descriptors":    {endpoint(t, body("application/proto", undeclared)), "META0003", "x.Y", 500},
		"no uri":             {"", "META0400", "http://host:port/path", 400},
		"another scheme":     {"ftp://host/", "META0400", "http://host:port/path", 400},
		"no host":            {"http://:9080", "META0400", "http://host:port/path", 400},
		"a query":            {"http://host/?a=b", "META0400", "query", 400},
		"a user":             {"http://u:p@host/", "META0400", "user", 400},
		"a port too high":    {"http://host:70000/", "META0400", "port", 400},
		"a long uri":         {"http://host/" + strings.Repeat("a", 3000), "META0400", "3012 bytes", 400},
		"control characters": {"http://host/\x7f", "META0400", "invalid", 400},
	} {
		t.Run(name, func(t *testing.T) {
			refused := r.call("POST", "/endpoints", registration(c.uri, false))
			require.Equal(t, c.status, refused.status, refused.body)
			message, code := refused.failure(t)
			require.Equal(t, c.code, code)
			require.Contains(t, message, c.says)
		})
	}
	require.JSONEq(t, `{"endpoints":[]}`, r.call("GET", "/endpoints", "").body)
}

// A slow endpoint does not keep others from being registered.
func TestRegistrationsDoNotBlockEachOther(t *testing.T) {
	r := start(t, func(c *meta.Config) {
		c.Discovery.Timeout, c.Discovery.AttemptTimeout = config.Duration(time.Minute), config.Duration(time.Minute)
	})
	waiting, released := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	slow := endpoint(t, func(w http.ResponseWriter, request *http.Request) {
		close(waiting)
		select {
		case <-released:
			answering(captured(t, routerServices))(w, request)
		case <-request.Context().Done():
		}
	})
	t.Cleanup(release)
	var group errgroup.Group
	group.Go(func() error {
		if answer := r.call("POST", "/endpoints", registration(slow, false)); answer.status != 201 {
			return fmt.Errorf("%d: %s", answer.status, answer.body)
		}
		return nil
	})
	<-waiting
	fast := sdk(t, typedServices)
	for i := range 5 {
		group.Go(func() error {
			if answer := r.call("POST", "/endpoints", registration(fmt.Sprintf("%s/%d", fast, i), false)); answer.status != 201 {
				return fmt.Errorf("%d: %s", answer.status, answer.body)
			}
			return nil
		})
	}
	await.True(t, await.Deadline, func() bool {
		return len(r.call("GET", "/endpoints", "").json(t).(map[string]any)["endpoints"].([]any)) == 5
	}, "the fast ones are registered")
	require.Contains(t, r.call("GET", "/services/seedera.Counter", "").body, `"revision":5`)
	release()
	require.NoError(t, group.Wait())
	require.Equal(t, 200, r.call("GET", "/services/my.pkg.Svc", "").status)
}

// When a registration is answered, the ingresses know of it.
func TestIngressesKnowBeforeTheAnswer(t *testing.T) {
	r := start(t)
	log := slog.New(slog.DiscardHandler)
	registry, err := schema.Watch(r.conn, log)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = registry.Run(ctx) })
	group.Go(func() { _ = schema.ServeSync(ctx, r.conn, registry) })
	group.Go(func() {
		_ = membership.Announce(ctx, r.conn, membership.Node{ID: "i", Role: membership.RoleIngress}, log)
	})
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	await.True(t, await.Deadline, func() bool {
		nodes, err := membership.Nodes(ctx, r.conn, membership.RoleIngress)
		return err == nil && len(nodes) == 1 && schema.AwaitSync(ctx, r.conn, 0) == nil
	}, "an ingress that answers")
	uri := sdk(t, typedServices)
	for i := range 10 {
		require.Equal(t, 201, r.call("POST", "/endpoints", registration(fmt.Sprintf("%s/%d", uri, i), false)).status)
		service, ok := registry.Current().Service("seedera.Counter")
		require.True(t, ok)
		require.Equal(t, uint32(i+1), service.Revision)
	}
}

// Of several registrations of one URI at a time, one wins, and the others are told of it.
func TestOneURIAtATime(t *testing.T) {
	r := start(t)
	uri := sdk(t, typedServices)
	const callers = 6
	var created, refused atomic.Int32
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			switch r.call("POST", "/endpoints", registration(uri, false)).status {
			case http.StatusCreated:
				created.Add(1)
			case http.StatusConflict:
				refused.Add(1)
			}
		})
	}
	group.Wait()
	require.Equal(t, int32(1), created.Load())
	require.Equal(t, int32(callers-1), refused.Load())
	require.Contains(t, r.call("GET", "/services/seedera.Counter", "").body, `"revision":1`)
}
