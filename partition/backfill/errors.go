package backfill

import (
	"fmt"

	"github.com/hupsert/hupsert/partition"
)

// refusal is a text that matches a sentinel of package partition.
type refusal struct {
	text string
	is   error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.is }

// refuse makes an error of a sentinel's kind with what can be done about it.
func refuse(is error, hint, format string, args ...any) error {
	return &partition.Error{Kind: partition.KindOf(is), Step: partition.StepOpen, Hint: hint, Err: &refusal{fmt.Sprintf(format, args...), is}}
}
