package v5_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"
	wire "github.com/restate-go/restate/proto/gen/restate/serviceprotocol/v5"

	"github.com/restate-go/restate/pkg/ids"
	"github.com/restate-go/restate/pkg/serviceprotocol/frame"
	v5 "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

const (
	someID = "inv_1fLUFnDokT5T7ow4nk6ryExmjLZV8HLVcM"
	// The first was seen with restate-server 1.7.12, the second follows from it.
	someAwakeable = "sign_1iaaypJEzt7f0GIMYznr-ZT69HWF8q_3yAAAAEQ"
	legacy        = "prom_1iaaypJEzt7f0GIMYznr-ZT69HWF8q_3yAAAAAw"
)

func rawID(t *testing.T) []byte {
	id, err := ids.ParseInvocationID(someID)
	require.NoError(t, err)
	return id[:]
}

func valueResult(s string) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Value{Value: []byte(s)}}
}

func voidResult() *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
}

func failureResult() *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Failure{Failure: &journalv1.Failure{
		Code: 418, Message: "no", Metadata: []*journalv1.FailureMetadata{{Key: "k", Value: "v"}},
	}}}
}

func wireFailure() *wire.Failure {
	return &wire.Failure{Code: 418, Message: "no", Metadata: []*wire.FailureMetadata{{Key: "k", Value: "v"}}}
}

type commandCase struct {
	name    string
	kind    frame.Type
	wire    proto.Message
	command *journalv1.Command
}

func commandCases(t *testing.T) []commandCase {
	return append(append(stateCases(), promiseCases()...), append(callCases(), invocationCases(t)...)...)
}

func stateCases() []commandCase {
	return []commandCase{
		{
			"output", v5.TypeOutput,
			&wire.OutputCommand{Name: "n", Result: &wire.OutputCommand_Value{Value: &wire.Value{Content: []byte("v")}}},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_Output{Output: &journalv1.Output{Result: valueResult("v")}}},
		},
		{
			"empty output", v5.TypeOutput,
			&wire.OutputCommand{Result: &wire.OutputCommand_Value{Value: &wire.Value{}}},
			&journalv1.Command{Command: &journalv1.Command_Output{Output: &journalv1.Output{Result: valueResult("")}}},
		},
		{
			"failure as output", v5.TypeOutput,
			&wire.OutputCommand{Result: &wire.OutputCommand_Failure{Failure: wireFailure()}},
			&journalv1.Command{Command: &journalv1.Command_Output{Output: &journalv1.Output{Result: failureResult()}}},
		},
		{
			"get state", v5.TypeGetLazyState,
			&wire.GetLazyStateCommand{Key: []byte("k"), ResultCompletionId: 7, Name: "n"},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_GetState{
				GetState: &journalv1.GetState{Key: []byte("k"), CompletionId: 7},
			}},
		},
		{
			"get state keys", v5.TypeGetLazyStateKeys,
			&wire.GetLazyStateKeysCommand{ResultCompletionId: 7, Name: "n"},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_GetStateKeys{
				GetStateKeys: &journalv1.GetStateKeys{CompletionId: 7},
			}},
		},
		{
			"set state", v5.TypeSetState,
			&wire.SetStateCommand{Key: []byte{0xff}, Value: &wire.Value{Content: []byte("v")}, Name: "n"},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_SetState{
				SetState: &journalv1.SetState{Key: []byte{0xff}, Value: []byte("v")},
			}},
		},
		{
			"set state to nothing", v5.TypeSetState,
			&wire.SetStateCommand{Key: []byte("k"), Value: &wire.Value{}},
			&journalv1.Command{Command: &journalv1.Command_SetState{SetState: &journalv1.SetState{Key: []byte("k")}}},
		},
		{
			"clear state", v5.TypeClearState,
			&wire.ClearStateCommand{Key: []byte("k"), Name: "n"},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_ClearState{ClearState: &journalv1.ClearState{Key: []byte("k")}}},
		},
		{
			"clear all state", v5.TypeClearAllState,
			&wire.ClearAllStateCommand{Name: "n"},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_ClearAllState{ClearAllState: &journalv1.ClearAllState{}}},
		},
		{
			"read state", v5.TypeGetEagerState,
			&wire.GetEagerStateCommand{
				Key: []byte("k"), Name: "n", Result: &wire.GetEagerStateCommand_Value{Value: &wire.Value{Content: []byte("v")}},
			},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_GetEagerState{
				GetEagerState: &journalv1.GetEagerState{Key: []byte("k"), Result: valueResult("v")},
			}},
		},
		{
			"read no state", v5.TypeGetEagerState,
			&wire.GetEagerStateCommand{Key: []byte("k"), Result: &wire.GetEagerStateCommand_Void{Void: &wire.Void{}}},
			&journalv1.Command{Command: &journalv1.Command_GetEagerState{
				GetEagerState: &journalv1.GetEagerState{Key: []byte("k"), Result: voidResult()},
			}},
		},
		{
			"read state keys", v5.TypeGetEagerStateKeys,
			&wire.GetEagerStateKeysCommand{Name: "n", Value: &wire.StateKeys{Keys: [][]byte{[]byte("a"), {}, {0xff}}}},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_GetEagerStateKeys{
				GetEagerStateKeys: &journalv1.GetEagerStateKeys{Keys: [][]byte{[]byte("a"), {}, {0xff}}},
			}},
		},
	}
}

func promiseCases() []commandCase {
	return []commandCase{
		{
			"get promise", v5.TypeGetPromise,
			&wire.GetPromiseCommand{Key: "p", ResultCompletionId: 7, Name: "n"},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_GetPromise{
				GetPromise: &journalv1.GetPromise{Key: "p", CompletionId: 7},
			}},
		},
		{
			"peek promise", v5.TypePeekPromise,
			&wire.PeekPromiseCommand{Key: "p", ResultCompletionId: 7, Name: "n"},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_PeekPromise{
				PeekPromise: &journalv1.PeekPromise{Key: "p", CompletionId: 7},
			}},
		},
		{
			"complete promise", v5.TypeCompletePromise,
			&wire.CompletePromiseCommand{
				Key: "p", ResultCompletionId: 7, Name: "n",
				Completion: &wire.CompletePromiseCommand_CompletionValue{CompletionValue: &wire.Value{Content: []byte("v")}},
			},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_CompletePromise{
				CompletePromise: &journalv1.CompletePromise{Key: "p", CompletionId: 7, Result: valueResult("v")},
			}},
		},
		{
			"reject promise", v5.TypeCompletePromise,
			&wire.CompletePromiseCommand{
				Key: "p", ResultCompletionId: 7,
				Completion: &wire.CompletePromiseCommand_CompletionFailure{CompletionFailure: wireFailure()},
			},
			&journalv1.Command{Command: &journalv1.Command_CompletePromise{
				CompletePromise: &journalv1.CompletePromise{Key: "p", CompletionId: 7, Result: failureResult()},
			}},
		},
		{
			"sleep", v5.TypeSleep,
			&wire.SleepCommand{WakeUpTime: 1 << 60, ResultCompletionId: 7, Name: "n"},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_Sleep{
				Sleep: &journalv1.Sleep{WakeUpTime: 1 << 60, CompletionId: 7},
			}},
		},
		{
			"run", v5.TypeRun,
			&wire.RunCommand{ResultCompletionId: 1<<32 - 1, Name: "n"},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_Run{Run: &journalv1.Run{CompletionId: 1<<32 - 1}}},
		},
	}
}

func callCases() []commandCase {
	headers := []*journalv1.Header{{Key: "h", Value: "1"}, {Key: "h", Value: "2"}}
	wireHeaders := []*wire.Header{{Key: "h", Value: "1"}, {Key: "h", Value: "2"}}
	return []commandCase{
		{
			"call", v5.TypeCall,
			&wire.CallCommand{
				ServiceName: "S", HandlerName: "h", Parameter: []byte("p"), Headers: wireHeaders, Key: "k",
				IdempotencyKey: proto.String("i"), Scope: proto.String("s"), LimitKey: proto.String("l/m"),
				InvocationIdNotificationIdx: 7, ResultCompletionId: 8, Name: "n",
			},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_Call{Call: &journalv1.Call{
				Request: &journalv1.CallRequest{
					Target:    &journalv1.Target{Service: "S", Handler: "h", Key: []byte("k"), Scope: "s", LimitKey: "l/m"},
					Parameter: []byte("p"), Headers: headers, IdempotencyKey: proto.String("i"),
				},
				InvocationIdCompletionId: 7, CompletionId: 8,
			}}},
		},
		{
			"call without options", v5.TypeCall,
			&wire.CallCommand{ServiceName: "S", HandlerName: "h", ResultCompletionId: 8},
			&journalv1.Command{Command: &journalv1.Command_Call{Call: &journalv1.Call{
				Request: &journalv1.CallRequest{Target: &journalv1.Target{Service: "S", Handler: "h"}}, CompletionId: 8,
			}}},
		},
		{
			"one-way call", v5.TypeOneWayCall,
			&wire.OneWayCallCommand{
				ServiceName: "S", HandlerName: "h", Parameter: []byte("p"), Headers: wireHeaders, Key: "k",
				IdempotencyKey: proto.String("i"), Scope: proto.String("s"), LimitKey: proto.String("l"),
				InvocationIdNotificationIdx: 7, InvokeTime: 9, Name: "n",
			},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_OneWayCall{OneWayCall: &journalv1.OneWayCall{
				Request: &journalv1.CallRequest{
					Target:    &journalv1.Target{Service: "S", Handler: "h", Key: []byte("k"), Scope: "s", LimitKey: "l"},
					Parameter: []byte("p"), Headers: headers, IdempotencyKey: proto.String("i"),
				},
				InvocationIdCompletionId: 7, InvokeTime: 9,
			}}},
		},
	}
}

func invocationCases(t *testing.T) []commandCase {
	return []commandCase{
		{
			"send signal", v5.TypeSendSignal,
			&wire.SendSignalCommand{
				TargetInvocationId: someID, SignalId: &wire.SendSignalCommand_Idx{Idx: 17},
				Result: &wire.SendSignalCommand_Value{Value: &wire.Value{Content: []byte("v")}}, EntryName: "n",
			},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_SendSignal{SendSignal: &journalv1.SendSignal{
				Target: someID, InvocationId: rawID(t), Signal: &journalv1.SendSignal_Index{Index: 17}, Result: valueResult("v"),
			}}},
		},
		{
			"cancel", v5.TypeSendSignal,
			&wire.SendSignalCommand{
				TargetInvocationId: someID, SignalId: &wire.SendSignalCommand_Idx{Idx: 1},
				Result: &wire.SendSignalCommand_Void{Void: &wire.Void{}},
			},
			&journalv1.Command{Command: &journalv1.Command_SendSignal{SendSignal: &journalv1.SendSignal{
				Target: someID, InvocationId: rawID(t), Signal: &journalv1.SendSignal_Index{Index: 1}, Result: voidResult(),
			}}},
		},
		{
			"reject named signal", v5.TypeSendSignal,
			&wire.SendSignalCommand{
				TargetInvocationId: someID, SignalId: &wire.SendSignalCommand_Name{Name: ""},
				Result: &wire.SendSignalCommand_Failure{Failure: wireFailure()},
			},
			&journalv1.Command{Command: &journalv1.Command_SendSignal{SendSignal: &journalv1.SendSignal{
				Target: someID, InvocationId: rawID(t), Signal: &journalv1.SendSignal_Name{Name: ""}, Result: failureResult(),
			}}},
		},
		{
			"complete awakeable", v5.TypeCompleteAwakeable,
			&wire.CompleteAwakeableCommand{
				AwakeableId: someAwakeable, Result: &wire.CompleteAwakeableCommand_Value{Value: &wire.Value{Content: []byte("v")}}, Name: "n",
			},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_CompleteAwakeable{CompleteAwakeable: &journalv1.CompleteAwakeable{
				AwakeableId: someAwakeable, InvocationId: rawID(t), SignalIndex: 17, Result: valueResult("v"),
			}}},
		},
		{
			"reject legacy awakeable", v5.TypeCompleteAwakeable,
			&wire.CompleteAwakeableCommand{AwakeableId: legacy, Result: &wire.CompleteAwakeableCommand_Failure{Failure: wireFailure()}},
			&journalv1.Command{Command: &journalv1.Command_CompleteAwakeable{CompleteAwakeable: &journalv1.CompleteAwakeable{
				AwakeableId: legacy, InvocationId: rawID(t), CompletionId: 3, Result: failureResult(),
			}}},
		},
		{
			"attach by id", v5.TypeAttachInvocation,
			&wire.AttachInvocationCommand{
				Target: &wire.AttachInvocationCommand_InvocationId{InvocationId: someID}, ResultCompletionId: 7, Name: "n",
			},
			attach(&journalv1.InvocationRef{Ref: &journalv1.InvocationRef_Id{Id: someID}, InvocationId: rawID(t)}),
		},
		{
			"attach by request", v5.TypeAttachInvocation,
			&wire.AttachInvocationCommand{
				Target: &wire.AttachInvocationCommand_IdempotentRequestTarget{IdempotentRequestTarget: &wire.IdempotentRequestTarget{
					ServiceName: "S", ServiceKey: proto.String(""), HandlerName: "h", IdempotencyKey: "i", Scope: proto.String("s"),
				}},
				ResultCompletionId: 7, Name: "n",
			},
			attach(&journalv1.InvocationRef{Ref: &journalv1.InvocationRef_IdempotentRequest{
				IdempotentRequest: &journalv1.IdempotentRequest{
					Service: "S", Key: proto.String(""), Handler: "h", IdempotencyKey: "i", Scope: proto.String("s"),
				},
			}}),
		},
		{
			"attach by request without key", v5.TypeAttachInvocation,
			&wire.AttachInvocationCommand{
				Target: &wire.AttachInvocationCommand_IdempotentRequestTarget{IdempotentRequestTarget: &wire.IdempotentRequestTarget{
					ServiceName: "S", HandlerName: "h", IdempotencyKey: "i",
				}},
				ResultCompletionId: 7, Name: "n",
			},
			attach(&journalv1.InvocationRef{Ref: &journalv1.InvocationRef_IdempotentRequest{
				IdempotentRequest: &journalv1.IdempotentRequest{Service: "S", Handler: "h", IdempotencyKey: "i"},
			}}),
		},
		{
			"attach to workflow", v5.TypeAttachInvocation,
			&wire.AttachInvocationCommand{
				Target: &wire.AttachInvocationCommand_WorkflowTarget{WorkflowTarget: &wire.WorkflowTarget{
					WorkflowName: "W", WorkflowKey: "k", Scope: proto.String("s"),
				}},
				ResultCompletionId: 7, Name: "n",
			},
			attach(&journalv1.InvocationRef{Ref: &journalv1.InvocationRef_WorkflowRun{
				WorkflowRun: &journalv1.WorkflowRun{Workflow: "W", Key: "k", Scope: proto.String("s")},
			}}),
		},
		{
			"get output", v5.TypeGetInvocationOutput,
			&wire.AttachInvocationCommand{
				Target:             &wire.AttachInvocationCommand_WorkflowTarget{WorkflowTarget: &wire.WorkflowTarget{WorkflowName: "W", WorkflowKey: "k"}},
				ResultCompletionId: 7, Name: "n",
			},
			&journalv1.Command{Name: "n", Command: &journalv1.Command_GetInvocationOutput{
				GetInvocationOutput: &journalv1.GetInvocationOutput{CompletionId: 7, Invocation: &journalv1.InvocationRef{
					Ref: &journalv1.InvocationRef_WorkflowRun{WorkflowRun: &journalv1.WorkflowRun{Workflow: "W", Key: "k"}},
				}},
			}},
		},
	}
}

func attach(ref *journalv1.InvocationRef) *journalv1.Command {
	return &journalv1.Command{Name: "n", Command: &journalv1.Command_AttachInvocation{
		AttachInvocation: &journalv1.AttachInvocation{Invocation: ref, CompletionId: 7},
	}}
}

func frameOf(t *testing.T, kind frame.Type, m proto.Message) frame.Frame {
	payload, err := proto.Marshal(m)
	require.NoError(t, err)
	return frame.Frame{Type: kind, Payload: payload}
}

// Each command says the same on the wire and in the journal, both ways.
func TestCommands(t *testing.T) {
	kinds := map[frame.Type]bool{v5.TypeInput: true} // which no endpoint sends
	for _, c := range commandCases(t) {
		t.Run(c.name, func(t *testing.T) {
			f := frameOf(t, c.kind, c.wire)
			kinds[c.kind] = true
			decoded, err := v5.V7.Decode(f)
			require.NoError(t, err)
			command := decoded.(*journalv1.Command)
			require.True(t, proto.Equal(c.command, command), "%v instead of %v", command, c.command)
			encoded, err := v5.V7.AppendCommand(nil, c.command)
			require.NoError(t, err)
			requireSame(t, frame.Append(nil, f), encoded)

			f.Flags = v5.FlagAckRequested
			decoded, err = v5.V7.Decode(f)
			require.NoError(t, err)
			require.True(t, decoded.(*journalv1.Command).GetAckRequested())
		})
	}
	for kind := frame.Type(0x0400); kind < 0x8000; kind++ {
		require.Equal(t, v5.CommandName(kind) != "", kinds[kind], "command %#04x has no case", uint16(kind))
	}
}

// What the runtime adds to a command does not reach the endpoint.
func TestResolvedCallIsReplayedAsItCame(t *testing.T) {
	for _, c := range callCases() {
		command := proto.CloneOf(c.command)
		request := command.GetCall().GetRequest()
		if request == nil {
			request = command.GetOneWayCall().GetRequest()
		}
		request.Target.Kind, request.Target.Shared = journalv1.ServiceKind_SERVICE_KIND_KEYED, true
		request.InvocationId = rawID(t)
		request.SpanContext = &journalv1.SpanContext{Traceparent: "t"}
		request.CompletionRetention, request.JournalRetention = 1, 2
		encoded, err := v5.V7.AppendCommand(nil, command)
		require.NoError(t, err)
		requireSame(t, frame.Append(nil, frameOf(t, c.kind, c.wire)), encoded)
	}
}

func TestInput(t *testing.T) {
	encoded, err := v5.V5.AppendCommand(nil, &journalv1.Command{Command: &journalv1.Command_Input{
		Input: &journalv1.Input{Headers: []*journalv1.Header{{Key: "h", Value: "v"}}},
	}})
	require.NoError(t, err)
	requireSame(t, frame.Append(nil, frameOf(t, v5.TypeInput, &wire.InputCommand{
		Headers: []*wire.Header{{Key: "h", Value: "v"}}, Value: &wire.Value{},
	})), encoded)
}

// Commands that only another generation has cannot be replayed, and are not taken for something else.
func TestForeignCommands(t *testing.T) {
	for _, command := range []*journalv1.Command{
		{},
		{Command: &journalv1.Command_Awakeable{Awakeable: &journalv1.Awakeable{CompletionId: 1}}},
		{Command: &journalv1.Command_Custom{Custom: &journalv1.Custom{Type: 0xfc00}}},
	} {
		_, err := v5.V7.AppendCommand(nil, command)
		require.ErrorContains(t, err, "no form in this protocol")
	}
}

// Metadata of failures does not reach an endpoint that cannot read it.
func TestFailureMetadata(t *testing.T) {
	bare := proto.CloneOf(failureResult())
	bare.GetFailure().Metadata = nil
	output := func(r *journalv1.Result) *journalv1.Command {
		return &journalv1.Command{Command: &journalv1.Command_Output{Output: &journalv1.Output{Result: r}}}
	}
	completions := v5.Completions{1: v5.TypeCallCompletion}
	answer := func(r *journalv1.Result) *journalv1.Notification {
		return &journalv1.Notification{Id: &journalv1.Notification_CompletionId{CompletionId: 1}, Result: r}
	}
	for version, want := range map[v5.Version]*journalv1.Result{v5.V5: bare, v5.V6: failureResult(), v5.V7: failureResult()} {
		got, err := version.AppendCommand(nil, output(failureResult()))
		require.NoError(t, err)
		exact, err := v5.V7.AppendCommand(nil, output(want))
		require.NoError(t, err)
		require.Equal(t, exact, got)

		decoded, err := version.Decode(frame.Frame{Type: v5.TypeOutput, Payload: mustAppend(t, output(failureResult()))[frame.HeaderSize:]})
		require.NoError(t, err)
		require.True(t, proto.Equal(output(want), decoded.(*journalv1.Command)))

		got, err = version.AppendNotification(nil, completions, answer(failureResult()))
		require.NoError(t, err)
		exact, err = v5.V7.AppendNotification(nil, completions, answer(want))
		require.NoError(t, err)
		require.Equal(t, exact, got)
	}
}

func mustAppend(t *testing.T, command *journalv1.Command) []byte {
	encoded, err := v5.V7.AppendCommand(nil, command)
	require.NoError(t, err)
	return encoded
}
