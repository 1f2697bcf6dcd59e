package cluster

import (
	"encoding/json"
	"fmt"
	"strconv"

	"redoubt.dev/redoubt/internal/cluster/idmap"
)

// hardening tells the policy config/policy/hardening-user-namespaces.yaml
// whether this node can give plain containers user namespaces, and why not.
func (b *boot) hardening() ([]byte, error) {
	reason := "tried when this instance booted"
	err := idmap.Try(b.inst.Data("containerd"))
	if err != nil {
		reason = err.Error()
		fmt.Fprintf(b.out, "         Plain containers keep the node's users: %v\n", err)
	}
	return json.Marshal(map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   map[string]string{"name": "hardening", "namespace": "redoubt-system"},
		"data":       map[string]string{"userNamespaces": strconv.FormatBool(err == nil), "reason": reason},
	})
}
