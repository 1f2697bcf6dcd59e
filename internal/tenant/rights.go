package tenant

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// admit lets the tenant's users, and those of no other, work in a namespace.
// It comes last: before it, everything that bounds them is there.
func (r *reconciler) admit(ctx context.Context, tenant *redoubt.Tenant, namespace string) error {
	binding := bindingIn(namespace)
	err := r.ensure(ctx, tenant, binding, true, func() {
		binding.RoleRef = rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: redoubt.TenantRole}
		binding.Subjects = nil
		for _, group := range groupsOf(tenant) {
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group})
		}
	})
	if err != nil {
		return fmt.Errorf("let its users in: %w", err)
	}
	return nil
}

// groupsOf are those whom an identity provider names, and each user whose
// certificates are good.
func groupsOf(tenant *redoubt.Tenant) []string {
	groups := []string{redoubt.TenantGroup(tenant.Name)}
	for _, c := range tenant.Spec.Credentials {
		groups = append(groups, redoubt.CertificateGroup(tenant.Name, c))
	}
	return groups
}

// shutOut ends the rights of a tenant's users in a namespace.
func (r *reconciler) shutOut(ctx context.Context, namespace string) error {
	if err := r.ensure(ctx, nil, bindingIn(namespace), false, nil); err != nil {
		return fmt.Errorf("shut out its former users: %w", err)
	}
	return nil
}

func bindingIn(namespace string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Object}}
}
