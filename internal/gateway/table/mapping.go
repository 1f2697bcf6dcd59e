package table

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"redoubt.dev/redoubt/api/serving/v1beta1"
)

// SetMapping adds or replaces a domain mapping.
func (t *Table) SetMapping(m *v1beta1.DomainMapping) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := append(others(t.mapped[m.Name], m.Namespace), m)
	slices.SortFunc(all, func(a, b *v1beta1.DomainMapping) int {
		if a.Before(b) {
			return -1
		}
		return 1
	})
	t.mapped[m.Name] = all
}

// DeleteMapping removes a mapping; the next one with its name takes its place.
func (t *Table) DeleteMapping(name types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if all := others(t.mapped[name.Name], name.Namespace); len(all) > 0 {
		t.mapped[name.Name] = all
	} else {
		delete(t.mapped, name.Name)
	}
}

// others are the mappings of one name that are not in namespace.
func others(all []*v1beta1.DomainMapping, namespace string) []*v1beta1.DomainMapping {
	return slices.DeleteFunc(slices.Clone(all), func(m *v1beta1.DomainMapping) bool { return m.Namespace == namespace })
}

// mappedTo is the route that a domain leads to, nil where there is none. It is
// in the mapping's own namespace, whatever the mapping says; t.mu is held.
func (t *Table) mappedTo(host string) *entry {
	all := t.mapped[host]
	if len(all) == 0 {
		return nil
	}
	return t.routes[types.NamespacedName{Namespace: all[0].Namespace, Name: all[0].Spec.Ref.Name}]
}
