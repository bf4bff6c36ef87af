package schema

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/errcode"
	"github.com/restate-go/restate/pkg/membership"
)

// byManifest is a registration of an endpoint with a manifest.
func byManifest(t testing.TB, uri, sdk string, force bool) Registration {
	t.Helper()
	d, err := ReadManifest(manifest(t, sdk))
	require.NoError(t, err)
	return Registration{Endpoint: Endpoint{URI: uri}, Discovery: d, Force: force, Breaking: true}
}

// Settings go over what the service and its handlers say, in the snapshots of every daemon, and leave the others alone.
func TestSettings(t *testing.T) {
	conn := connect(t)
	writer := NewWriter(conn)
	first, endpoint, err := writer.Register(t.Context(), byManifest(t, "http://a", "typescript", false))
	require.NoError(t, err)
	require.True(t, endpoint.HasManifest())
	before, _ := first.Service("Greeter")
	_, err = writer.Modify(t.Context(), "Greeter", Settings{InactivityTimeout: new(time.Second), JournalRetention: new(time.Minute)})
	require.NoError(t, err)
	_, err = writer.Modify(t.Context(), "Greeter", Settings{Public: new(false), JournalRetention: new(time.Hour)})
	require.NoError(t, err)
	after, ok := watchReady(t, conn).Current().Service("Greeter")
	require.True(t, ok)
	require.False(t, after.Public)
	for _, o := range []Options{after.Options, after.Methods[0].Options, after.Methods[1].Options} {
		require.Equal(t, time.Second, *o.InactivityTimeout, "also where the handler said something else")
		require.Equal(t, time.Hour, o.JournalRetention)
		require.Equal(t, 2*time.Hour, o.IdempotencyRetention)
	}
	require.Equal(t, 3*time.Hour, before.Methods[0].Options.JournalRetention, "a snapshot does not change")

	for name, settings := range map[string]Settings{
		"Greeter": {WorkflowRetention: new(time.Hour)}, "Nobody": {Public: new(true)},
	} {
		_, err := writer.Modify(t.Context(), name, settings)
		require.Error(t, err)
		require.Contains(t, []errcode.Code{errcode.BadRequest, errcode.NotFound}, errcode.Of(err, ""))
	}
}

// Documents of releases without settings say of every service whether it is public.
func TestDocumentsWithoutSettings(t *testing.T) {
	conn := connect(t)
	bucket, err := membership.Registry(t.Context(), conn)
	require.NoError(t, err)
	r := registration(t, "http://a", false, "KEYED")
	_, err = bucket.Put(t.Context(), descriptorsPrefix+r.Discovery.hash, r.Discovery.stored)
	require.NoError(t, err)
	_, err = bucket.PutString(t.Context(), documentKey, `{"endpoints":[{"id":"x","uri":"http://a/","protocol_mode":"BidiStream",
		"services":[{"name":"test.S","revision":3}],"descriptors_hash":"`+r.Discovery.hash+`"}],
		"services":{"test.S":{"endpoint_id":"x","revision":3,"public":false}}}`)
	require.NoError(t, err)
	service, ok := watchReady(t, conn).Current().Service("test.S")
	require.True(t, ok)
	require.False(t, service.Public)
	require.Equal(t, uint32(3), service.Revision)
}

// What a removed endpoint with a manifest served last is served by the one before again, under its settings.
func TestRemoveFallsBack(t *testing.T) {
	conn := connect(t)
	writer := NewWriter(conn)
	_, one, err := writer.Register(t.Context(), byManifest(t, "http://a", "typescript", false))
	require.NoError(t, err)
	_, err = writer.Modify(t.Context(), "Counter", Settings{Public: new(false)})
	require.NoError(t, err)
	snapshot, two, err := writer.Register(t.Context(), byManifest(t, "http://b", "go", false))
	require.NoError(t, err)
	require.Equal(t, []uint32{1, 1, 1}, revisions(snapshot.ServicesOf(one.ID)))
	require.Equal(t, []uint32{2, 2, 2}, revisions(snapshot.ServicesOf(two.ID)))
	require.Empty(t, snapshot.OnlyAt(two.ID))
	snapshot, err = writer.Remove(t.Context(), two.ID)
	require.NoError(t, err)
	counter, ok := snapshot.Service("Counter")
	require.True(t, ok)
	require.Equal(t, one.ID, counter.EndpointID)
	require.Equal(t, uint32(1), counter.Revision)
	require.False(t, counter.Public)
	require.Equal(t, []string{"Counter", "Greeter", "Signup"}, snapshot.OnlyAt(one.ID))
	snapshot, err = writer.Remove(t.Context(), one.ID)
	require.NoError(t, err)
	require.Empty(t, snapshot.Services())
	require.Empty(t, storedDescriptors(t, conn))
}

func revisions(services []*Service) []uint32 {
	var out []uint32
	for _, s := range services {
		out = append(out, s.Revision)
	}
	return out
}

func TestPreviewStoresNothing(t *testing.T) {
	conn := connect(t)
	writer := NewWriter(conn)
	snapshot, endpoint, err := writer.Preview(t.Context(), byManifest(t, "http://a", "go", false))
	require.NoError(t, err)
	require.Len(t, snapshot.Services(), 3)
	require.NotEmpty(t, endpoint.ID)
	latest, err := writer.Latest(t.Context())
	require.NoError(t, err)
	require.Empty(t, latest.Endpoints())
	require.Empty(t, storedDescriptors(t, conn))
}

// A meta of a release that does not know the limits drops them from the document. The next change by one that does brings
// them back.
func TestLimitsComeBack(t *testing.T) {
	conn := connect(t)
	writer := NewWriter(conn)
	retention := func(s *Snapshot) time.Duration {
		service, ok := s.Service("Greeter")
		require.True(t, ok)
		return service.Methods[0].Options.JournalRetention
	}
	_, _, err := NewWriter(conn).Register(t.Context(), byManifest(t, "http://a", "typescript", false))
	require.NoError(t, err)
	snapshot, err := writer.Limit(t.Context(), Limits{MaxJournalRetention: new(time.Minute)})
	require.NoError(t, err)
	require.Equal(t, time.Minute, retention(snapshot))

	_, err = NewWriter(conn).change(t.Context(), nil, func(_ *Snapshot, d *document) error {
		d.Limits = Limits{}
		return nil
	})
	require.NoError(t, err)
	snapshot, err = writer.Latest(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3*time.Hour, retention(snapshot))

	snapshot, _, err = writer.Preview(t.Context(), byManifest(t, "http://b", "go", false))
	require.NoError(t, err)
	require.Equal(t, time.Minute, *snapshot.document.Limits.MaxJournalRetention)
	snapshot, err = writer.Modify(t.Context(), "Greeter", Settings{Public: new(false)})
	require.NoError(t, err)
	require.Equal(t, time.Minute, retention(snapshot))
	snapshot, err = writer.Limit(t.Context(), Limits{})
	require.NoError(t, err)
	require.Equal(t, 3*time.Hour, retention(snapshot))
}
