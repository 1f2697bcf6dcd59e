package kube

import (
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// RefusedPause is after how long to try again what the API server forbids: a full
// quota has room again some day, and tells nobody.
const RefusedPause = 10 * time.Second

// invalidPause is the same for what it calls invalid: its owner must change that, as
// a rule, but policies judge by classes and tenants, which others change.
const invalidPause = time.Minute

// PauseAfter is after how long to try again what the API server has refused, 0 where
// err is no refusal.
func PauseAfter(err error) time.Duration {
	switch {
	case apierrors.IsForbidden(err):
		return RefusedPause
	case apierrors.IsInvalid(err):
		return invalidPause
	}
	return 0
}

// Unnamed is what the API server answered to a create, without the name that it
// made up from the prefix: another one each time, which would make a new status of
// each refusal. Other errors are left as they are.
func Unnamed(err error, prefix string) error {
	var refusal *apierrors.StatusError
	if !errors.As(err, &refusal) || refusal.ErrStatus.Details == nil || prefix == "" {
		return err
	}
	// The server cuts a long prefix, to have room for what it adds.
	name := refusal.ErrStatus.Details.Name
	if len(name) <= madeUp || !strings.HasPrefix(prefix, name[:len(name)-madeUp]) {
		return err
	}
	unnamed := &apierrors.StatusError{ErrStatus: *refusal.ErrStatus.DeepCopy()}
	unnamed.ErrStatus.Details.Name = prefix
	unnamed.ErrStatus.Message = strings.ReplaceAll(refusal.ErrStatus.Message, name, prefix)
	return unnamed
}

// madeUp is how many characters the server adds to a prefix.
const madeUp = 5
