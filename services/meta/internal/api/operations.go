package api

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Restarted says under which id an invocation runs again.
type Restarted struct {
	ID string `json:"new_invocation_id"`
}

// BatchRequest names the invocations that something is to be done to.
type BatchRequest struct {
	InvocationIDs []string `json:"invocation_ids" doc:"At most 1000"`
	Deployment    string   `json:"deployment,omitempty" doc:"To resume and restart: keep, latest or the id of a deployment"`
}

// BatchResponse says what became of each invocation.
type BatchResponse struct {
	Succeeded []any          `json:"succeeded" doc:"Ids; of restarted ones objects with old_invocation_id and new_invocation_id"`
	Failed    []BatchFailure `json:"failed"`
}

// BatchRestarted is an invocation that runs again.
type BatchRestarted struct {
	Old string `json:"old_invocation_id"`
	New string `json:"new_invocation_id"`
}

// BatchFailure is an invocation that it could not be done to.
type BatchFailure struct {
	InvocationID string `json:"invocation_id"`
	Error        string `json:"error"`
}

// PatchStateRequest replaces the state of an object or workflow.
type PatchStateRequest struct {
	Key     *string          `json:"object_key"`
	State   map[string]Bytes `json:"new_state" doc:"All of it: keys that are not named are cleared. A value is an array of numbers 0 to 255, or a string"`
	Version *string          `json:"version,omitempty" doc:"The state is changed only if it has this version when its turn comes, and otherwise stays, without a word"`
	Scope   *string          `json:"scope,omitempty"`
}

// Bytes are written as an array of numbers, or as a string.
type Bytes []byte

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return err
		}
		*b = []byte(s)
		return nil
	}
	var numbers []int64
	if err := json.Unmarshal(text, &numbers); err != nil {
		return fmt.Errorf("bytes are an array of numbers, or a string: %w", err)
	}
	if numbers == nil {
		return errors.New("bytes are an array of numbers, or a string, not null")
	}
	*b = make([]byte, len(numbers))
	for i, n := range numbers {
		if n < 0 || n > 255 {
			return fmt.Errorf("%d is no byte", n)
		}
		(*b)[i] = byte(n)
	}
	return nil
}
