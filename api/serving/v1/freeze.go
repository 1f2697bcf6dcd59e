package v1

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// FreezeAnnotation says when an idle instance is frozen: never; after a time
// from 1s to 1h; or auto, the default, which is after DefaultFreeze unless the
// kubelet must ask the instance how it is.
const FreezeAnnotation = "redoubt.dev/freeze"

// Values of FreezeAnnotation.
const (
	FreezeNever = "never"
	FreezeAuto  = "auto"
)

// PodFrozen is the condition of a pod that says whether it is frozen.
const PodFrozen = "redoubt.dev/Frozen"

// ReasonCommand is that of a pod that is frozen no more because somebody ran a
// command in it.
const ReasonCommand = "CommandRun"

// LentAnnotation is on an instance that asks for less of the processors than it
// did when it was made, so that others find a node: what its containers asked
// for, as JSON by their names.
const LentAnnotation = "redoubt.dev/lent-cpu"

// Freezable is the condition of a revision, its configuration and its service
// that says whether idle instances are frozen, and if not, why not.
const Freezable = "redoubt.dev/Freezable"

// DefaultFreeze is how long an instance is idle before it is frozen.
const DefaultFreeze = 10 * time.Second

// FrozenRetention is how long the last instance stays after the stable window
// when it can be frozen and the owner says nothing else.
const FrozenRetention = 10 * time.Minute

// FreezeAfter is how long an instance of the revision must be idle before it
// is frozen; 0 is never. The error names what is wrong with the annotation, or
// why the kubelet would take a frozen instance for a broken one.
func (r *Revision) FreezeAfter() (time.Duration, error) {
	value, ok := r.Annotations[FreezeAnnotation]
	if value == FreezeNever {
		return 0, nil
	}
	after := DefaultFreeze
	if ok && value != FreezeAuto {
		var err error
		if after, err = time.ParseDuration(value); err != nil || after < time.Second || after > time.Hour {
			return 0, fmt.Errorf("metadata.annotations[%s]: %q must be never, auto or a time from 1s to 1h", FreezeAnnotation, value)
		}
	}
	for i, c := range r.Spec.Containers {
		field := ""
		switch {
		case c.LivenessProbe != nil:
			field = "livenessProbe"
		case c.ReadinessProbe != nil:
			field = "readinessProbe"
		default:
			continue
		}
		return 0, fmt.Errorf("spec.containers[%d].%s: an instance that the kubelet probes cannot be frozen", i, field)
	}
	return after, nil
}

// Freezable is the condition of that name.
func (r *Revision) Freezable() Condition {
	c := Condition{Type: Freezable, Status: corev1.ConditionTrue, Severity: "Info"}
	switch after, err := r.FreezeAfter(); {
	case err != nil:
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, "Probed", err.Error()
	case after == 0:
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, "Never", "The annotation "+FreezeAnnotation+" says never."
	}
	return c
}
