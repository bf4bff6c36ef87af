package statemachine_test

import (
	"errors"
	"fmt"
	"strings"

	logv1 "github.com/restate-go/restate/proto/gen/restate/log/v1"
)

// operation makes one of:
//
//	kill id= [cascade] [sink=]
//	cancel id= [sink=]
//	attach id= sink= [wait]
//	purge id= [journal] [sink=]
//	pause id= [sink=]
//	resume id= [pin=<endpoint>] [sink=]
//	restart id= as=<id> [from=<entry>] [pin=<endpoint>] [unpinned] [sink=]
//	patch target [version=] [entries=(<key>:<value>,..)]
func (b *builder) operation(command string, a *arguments) (*logv1.Record, error) {
	if command == "patch" {
		patch, err := b.patch(a)
		return &logv1.Record{Command: &logv1.Record_PatchState{PatchState: patch}}, err
	}
	id := b.existing(a)
	sink, err := b.sink(a)
	if err != nil {
		return nil, err
	}
	switch command {
	case "kill", "cancel":
		mode := logv1.TerminationMode_TERMINATION_MODE_KILL
		if command == "cancel" {
			mode = logv1.TerminationMode_TERMINATION_MODE_CANCEL
		}
		return &logv1.Record{Command: &logv1.Record_Terminate{Terminate: &logv1.Terminate{
			InvocationId: id[:], Mode: mode, Cascade: a.has("cascade"), ResponseSink: sink,
		}}}, nil
	case "attach":
		return &logv1.Record{Command: &logv1.Record_Attach{Attach: &logv1.Attach{
			InvocationId: id[:], ResponseSink: sink, Wait: a.has("wait"),
		}}}, nil
	case "purge":
		return &logv1.Record{Command: &logv1.Record_Purge{Purge: &logv1.Purge{
			InvocationId: id[:], JournalOnly: a.has("journal"), ResponseSink: sink,
		}}}, nil
	case "pause":
		return &logv1.Record{Command: &logv1.Record_Pause{Pause: &logv1.Pause{InvocationId: id[:], ResponseSink: sink}}}, nil
	case "resume":
		return &logv1.Record{Command: &logv1.Record_Resume{Resume: &logv1.Resume{
			InvocationId: id[:], Pin: pinned(a), ResponseSink: sink,
		}}}, nil
	case "restart":
		// In the partition of the old one, and with the partition key of its service key.
		again := b.alike(a.text("as", ""), id)
		return &logv1.Record{Command: &logv1.Record_RestartAsNew{RestartAsNew: &logv1.RestartAsNew{
			InvocationId: id[:], NewInvocationId: again[:], From: a.index("from", 0), Pin: pinned(a),
			Unpinned: a.has("unpinned"), ResponseSink: sink,
		}}}, nil
	}
	return nil, errors.New("unknown command")
}

func pinned(a *arguments) *logv1.PinnedEndpoint {
	if endpoint := a.text("pin", ""); endpoint != "" {
		return &logv1.PinnedEndpoint{EndpointId: endpoint, ServiceProtocolVersion: 1}
	}
	return nil
}

func (b *builder) patch(a *arguments) (*logv1.PatchState, error) {
	target := b.target(a)
	patch := &logv1.PatchState{
		Target: target, PartitionKey: b.partitionKey("key " + string(target.GetKey())), Version: a.text("version", ""),
	}
	entries, _ := a.find("entries")
	for _, entry := range entries.Vals {
		key, value, ok := strings.Cut(entry, ":")
		if !ok {
			return nil, fmt.Errorf("%q is no entry", entry)
		}
		patch.Entries = append(patch.Entries, &logv1.StateEntry{Key: []byte(key), Value: []byte(value)})
	}
	return patch, nil
}
