// Package cli holds the command that shows what a runtime stores, through its storage-reader.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	scanv1 "github.com/restate-go/restate/proto/gen/dev/restate/storage/scan/v1"
)

// maxRow bounds a row, in bytes.
const maxRow = 64 << 20

// NewCommand returns the command storage with its subcommand scan. find returns where the storage-reader serves,
// host:port, unless a flag says so; empty when that is not known.
func NewCommand(find func() (string, error)) *cobra.Command {
	c := &cobra.Command{Use: "storage", Short: "Show what is stored", Args: cobra.NoArgs}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	c.AddCommand(scanCommand(find))
	return c
}

const scanHelp = `Prints the rows of a table as they are stored at this moment, in the order of their keys.

Tables, and the flags that choose among their rows:

  state                    --service --key --state-key --partition-key
  status                   --service --key --partition-key
                           invocations that run or are suspended
  journal                  --service --key --index --partition-key
                           their steps
  inbox                    --service --key --sequence --partition-key
                           calls that wait for their turn
  timers                   --partition-id --from --to --service --key --invocation --index
                           sleeps and delayed calls, under the invocation that asked for them
  outbox                   --partition-id --sequence
                           calls and results on their way to elsewhere
  deduplication            --partition-id --producer
                           the last message that a partition took from another
  partition_state_machine  --partition-id --state
                           the next sequence number in the inbox (0) and in the outbox (1)

Keys and values are printed as text where they are text, and in hex (0x...) where they are not. --key takes the key as
text, as a number or as a UUID; --key 0x... takes its bytes. It does not find the instances of a scope. A service without
keys has the id of an invocation in place of a key.`

const scanExamples = `  restate storage scan state --service my.Counter --key ada
  restate storage scan status
  restate storage scan journal --service my.Checkout --key ada
  restate storage scan timers --to 2024-01-31T18:00:00Z
  restate storage scan state --json | jq -r .value`

func scanCommand(find func() (string, error)) *cobra.Command {
	c := &cobra.Command{
		Use: "scan TABLE", Short: "Print the rows of a table", Long: scanHelp, Example: scanExamples,
		Args: cobra.ExactArgs(1), ValidArgs: tableNames(),
	}
	wanted := newConditions(c.Flags())
	address := c.Flags().String("address", "", "where the storage-reader serves (default as configured, storage.bind_address)")
	plain := c.Flags().Bool("json", false, "print each row as a line of JSON")
	limit := c.Flags().Uint64("limit", 0, "at most so many rows; 0 for all")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		table, err := tableNamed(args[0])
		if err != nil {
			return err
		}
		requests, err := wanted.requests(table)
		if err != nil {
			return err
		}
		at := *address
		if at == "" {
			if at, err = find(); err != nil {
				return err
			}
		}
		var out printer = newTable(cmd.OutOrStdout(), table)
		if *plain {
			out = newLines(cmd.OutOrStdout(), table)
		}
		return scan(cmd.Context(), at, requests, wanted.admits, &limited{out, *limit})
	}
	return c
}

// tables returns the tables, which are the fields of a key.
func tables() protoreflect.FieldDescriptors {
	return (&scanv1.Key{}).ProtoReflect().Descriptor().Oneofs().ByName("key").Fields()
}

func tableNames() []string {
	names := make([]string, tables().Len())
	for i := range names {
		names[i] = string(tables().Get(i).Name())
	}
	return names
}

func tableNamed(name string) (protoreflect.FieldDescriptor, error) {
	table := tables().ByName(protoreflect.Name(strings.ReplaceAll(name, "-", "_")))
	if table == nil {
		return nil, fmt.Errorf("there is no table %q; there are %s", name, strings.Join(tableNames(), ", "))
	}
	return table, nil
}

// printer takes rows. The last call is close.
type printer interface {
	add(row *scanv1.Pair) error
	close() error
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// limited takes no more rows than it has left; 0 is without end.
type limited struct {
	printer
	left uint64
}

func (l *limited) add(row *scanv1.Pair) error {
	if err := l.printer.add(row); err != nil {
		return err
	}
	l.left--
	if l.left == 0 {
		return errEnough
	}
	return nil
}

// scan prints the rows of all requests that are admitted.
func scan(ctx context.Context, address string, requests []*scanv1.ScanRequest, admits func(*scanv1.Key) bool, out printer) (err error) {
	conn, err := dial(address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, request := range requests {
		if err := scanOne(ctx, conn, request, admits, out); errors.Is(err, errEnough) {
			break
		} else if err != nil {
			// What has arrived is worth seeing.
			return errors.Join(err, out.close())
		}
	}
	return out.close()
}

func dial(address string) (*grpc.ClientConn, error) {
	_, rest, found := strings.Cut(address, "://")
	if !found {
		rest = address
	}
	if rest = strings.TrimRight(rest, "/"); rest == "" {
		return nil, errors.New("where the storage-reader serves is not known; pass --address host:port")
	}
	// HTTPS_PROXY is about the way to service endpoints.
	return grpc.NewClient(rest, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxRow)))
}

func scanOne(
	ctx context.Context, conn *grpc.ClientConn, request *scanv1.ScanRequest, admits func(*scanv1.Key) bool, out printer,
) error {
	stream, err := scanv1.NewStorageClient(conn).Scan(ctx, request)
	if err != nil {
		return failed(conn, err)
	}
	for {
		row, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failed(conn, err)
		}
		if !admits(row.GetKey()) {
			continue
		}
		if err := out.add(row); err != nil {
			return err
		}
	}
}

// failed says in the words of an operator what went wrong.
func failed(conn *grpc.ClientConn, err error) error {
	s := status.Convert(err)
	if s.Code() == codes.Unavailable {
		return fmt.Errorf("the storage-reader at %s cannot answer (--address says where it is): %s", conn.Target(), s.Message())
	}
	return fmt.Errorf("the storage-reader at %s answers %s: %s", conn.Target(), s.Code(), s.Message())
}
