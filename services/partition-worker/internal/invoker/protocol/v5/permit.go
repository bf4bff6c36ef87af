package v5

import (
	"fmt"

	journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

	wire "github.com/restate-go/restate/pkg/serviceprotocol/v5"
)

// permit refuses what a handler of this kind may not ask for, as restate-server does.
func permit(target *journalv1.Target, command *journalv1.Command) error {
	switch command.GetCommand().(type) {
	case *journalv1.Command_GetState, *journalv1.Command_GetStateKeys,
		*journalv1.Command_GetEagerState, *journalv1.Command_GetEagerStateKeys:
		if target.GetKind() == journalv1.ServiceKind_SERVICE_KIND_UNKEYED {
			return refuse(target, "reads state, and a service without keys has none")
		}
	case *journalv1.Command_SetState, *journalv1.Command_ClearState, *journalv1.Command_ClearAllState:
		if target.GetKind() == journalv1.ServiceKind_SERVICE_KIND_UNKEYED {
			return refuse(target, "writes state, and a service without keys has none")
		}
		if target.GetShared() {
			return refuse(target, "writes state, and a shared handler may only read it")
		}
	case *journalv1.Command_GetPromise, *journalv1.Command_PeekPromise, *journalv1.Command_CompletePromise:
		if target.GetKind() != journalv1.ServiceKind_SERVICE_KIND_WORKFLOW {
			return refuse(target, "uses a promise, and only workflows have any")
		}
	}
	return nil
}

func refuse(target *journalv1.Target, what string) error {
	return fmt.Errorf("%w: %s/%s %s", wire.ErrRefused, target.GetService(), target.GetHandler(), what)
}
