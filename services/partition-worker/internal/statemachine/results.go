package statemachine

import journalv1 "github.com/restate-go/restate/proto/gen/restate/journal/v1"

func void() *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Void{Void: &journalv1.Void{}}}
}

func success(value []byte) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Value{Value: value}}
}

func failure(f *journalv1.Failure) *journalv1.Result {
	return &journalv1.Result{Result: &journalv1.Result_Failure{Failure: f}}
}
