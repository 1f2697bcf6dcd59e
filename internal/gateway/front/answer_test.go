package front

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// An answer may be passed on before the goroutine that sent the request's body
// has said that it is done: the client's connection is good all the same.
func TestConnectionIsKeptAfterABody(t *testing.T) {
	for name, test := range map[string]struct {
		after time.Duration // when the body has been sent; 0 is never
		fault error
		want  verdict
	}{
		"sent at the same moment": {lastBytes / 2, nil, keep},
		"failed":                  {lastBytes / 2, errors.New("the instance has closed"), linger},
		"not wanted":              {0, nil, linger},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := make(chan error, 1)
				x := &exchange{uploaded: done}
				if test.after > 0 {
					time.AfterFunc(test.after, func() {
						if test.fault != nil {
							done <- test.fault
						}
						close(done)
					})
				}
				if got := x.settle(keep); got != test.want {
					t.Errorf("the connection's fate is %d, want %d", got, test.want)
				}
				synctest.Wait()
			})
		})
	}
}
