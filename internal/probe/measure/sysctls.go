package measure

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"redoubt.dev/redoubt/internal/probe"
)

// sysctls are the kernel's settings that Kubernetes lets every pod change, with
// the values that they have anyway.
var sysctls = map[string]string{
	"kernel.shm_rmid_forced":              "0",
	"net.ipv4.ip_local_port_range":        "32768 60999",
	"net.ipv4.ip_local_reserved_ports":    "",
	"net.ipv4.ip_unprivileged_port_start": "0",
	"net.ipv4.ping_group_range":           "0 2147483647",
	"net.ipv4.tcp_fin_timeout":            "60",
	"net.ipv4.tcp_keepalive_intvl":        "75",
	"net.ipv4.tcp_keepalive_probes":       "9",
	"net.ipv4.tcp_keepalive_time":         "7200",
	"net.ipv4.tcp_rmem":                   "4096 131072 6291456",
	"net.ipv4.tcp_syncookies":             "1",
	"net.ipv4.tcp_wmem":                   "4096 16384 4194304",
}

// settings answers for each setting whether the node starts a pod that names it.
// Most classes start one that names all.
func (p Probe) settings(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	names := slices.Collect(maps.Keys(sysctls))
	refused, err := p.set(ctx, pod, names...)
	if err != nil {
		return nil, err
	}
	var (
		mu      sync.Mutex
		all     sync.WaitGroup
		failed  error
		answers = map[string]string{}
	)
	for _, name := range names {
		answers[sysctl(name)] = probe.Works
	}
	if refused == "" {
		return answers, nil
	}
	for _, name := range names {
		all.Go(func() {
			refused, err := p.set(ctx, pod.DeepCopy(), name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			}
			answers[sysctl(name)] = orWorks(refused)
		})
	}
	all.Wait()
	return answers, failed
}

// set runs a pod with settings, and says why the node refuses it.
func (p Probe) set(ctx context.Context, pod *corev1.Pod, names ...string) (refused string, err error) {
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	for _, name := range names {
		pod.Spec.SecurityContext.Sysctls = append(pod.Spec.SecurityContext.Sysctls, corev1.Sysctl{Name: name, Value: sysctls[name]})
	}
	if _, refused, err = p.run(ctx, pod, names...); err != nil {
		err = fmt.Errorf("sysctls %v: %w", names, err)
	}
	return refused, err
}

// sysctl is the path of a setting.
func sysctl(name string) string { return "securityContext.sysctls[" + name + "]" }
