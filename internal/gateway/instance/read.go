package instance

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/gateway/balance"
)

func settingsOf(rev *serving.Revision) balance.Settings {
	spec := &rev.Spec
	timeout := spec.TimeoutSeconds
	if timeout == 0 {
		timeout = serving.DefaultTimeoutSeconds
	}
	freeze, _ := rev.FreezeAfter() // why not concerns the owner, who reads it in the status
	seconds := func(n int64) time.Duration { return time.Duration(n) * time.Second }
	return balance.Settings{
		Port:          spec.Port(),
		HTTP2:         spec.HTTP2(),
		Concurrency:   int(spec.ContainerConcurrency),
		Timeout:       seconds(timeout),
		ResponseStart: seconds(spec.ResponseStartTimeoutSeconds),
		Freeze:        freeze,
		Idle:          seconds(spec.IdleTimeoutSeconds),
	}
}

// failureOf says why a revision cannot have instances, in its own words.
func failureOf(rev *serving.Revision) string {
	ready := rev.Status.Conditions.Get(serving.Ready)
	if ready.Status != corev1.ConditionFalse {
		return ""
	}
	if why := strings.TrimSpace(ready.Message); why != "" {
		return why
	}
	return "it failed: " + ready.Reason
}

// leaves says that a pod is on its way out: what it still answers is luck.
func leaves(p *corev1.Pod) bool {
	return p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
}
