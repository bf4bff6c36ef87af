package process

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"
)

// Rows returns the rows of the storage whose keys have the fields of the key.
func (r *Runtime) Rows(t testing.TB, key *scanv1.Key) []*scanv1.Pair {
	t.Helper()
	rows, err := Rows(t.Context(), scanv1.NewStorageClient(Dial(t, r.Storage)), key)
	require.NoError(t, err)
	return rows
}

// Rows scans for the rows whose keys have the fields of the key.
func Rows(ctx context.Context, client scanv1.StorageClient, key *scanv1.Key) ([]*scanv1.Pair, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := client.Scan(ctx, &scanv1.ScanRequest{Filter: &scanv1.ScanRequest_Prefix{Prefix: key}})
	if err != nil {
		return nil, err
	}
	var rows []*scanv1.Pair
	for {
		row, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
}

// Command runs a command of the binary with the configuration of the runtime, and returns what it prints.
func (r *Runtime) Command(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, Binary(t), args...) //nolint:gosec // the test says which arguments
	cmd.Dir, cmd.Env = r.dir, append(cmd.Environ(), r.common...)
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, string(output))
	return string(output)
}

// Tables returns the names of the tables that the database has on the disk now. Names are not used again.
func (r *Runtime) Tables() []string {
	r.t.Helper()
	names, err := filepath.Glob(filepath.Join(r.dir, "target", "db", "*.sst"))
	require.NoError(r.t, err)
	return names
}
