package v1

// TenantLabel on a namespace names the tenant that it belongs to. An admission
// policy lets only those set, change or remove it who may update the tenant.
const TenantLabel = "redoubt.dev/tenant"

// What a tenant's namespace must know, so that the API server can judge what
// is made in it without asking anything else. The tenant controller writes
// these annotations and an admission policy keeps everybody else from it.
const (
	// AnnotationPrefix is what they have in common.
	AnnotationPrefix = "tenant.redoubt.dev/"
	// ResolvedAnnotation is the tenant that the other annotations are for. Where
	// it is not the label's, nothing that makes pods is let in.
	ResolvedAnnotation = "tenant.redoubt.dev/resolved"
	// FloorAnnotation is the tenant's floor.
	FloorAnnotation = "tenant.redoubt.dev/floor"
	// DefaultClassAnnotation is the class of pods that name none; absent where
	// there is none that may be used.
	DefaultClassAnnotation = "tenant.redoubt.dev/default-class"
	// OpenClassesAnnotation lists the classes that pods may name, with commas.
	OpenClassesAnnotation = "tenant.redoubt.dev/open-classes"
	// RequestsAnnotation and ColdStartsAnnotation bound what the tenant's
	// services get through a gateway; absent where nothing does.
	RequestsAnnotation   = "tenant.redoubt.dev/requests-per-second"
	ColdStartsAnnotation = "tenant.redoubt.dev/cold-starts"
	// BoundedAnnotation is "true" where the quota bounds what pods take.
	BoundedAnnotation = "tenant.redoubt.dev/bounded"
	// CallsToAnnotation lists the tenants whose services the namespace's pods may
	// call, CallsFromAnnotation those whose pods may call its services, with
	// commas.
	CallsToAnnotation   = "tenant.redoubt.dev/calls-to"
	CallsFromAnnotation = "tenant.redoubt.dev/calls-from"
	// ClosedClassesAnnotation has a line NAME=REASON for each other class.
	ClosedClassesAnnotation = "tenant.redoubt.dev/closed-classes"
)

// QuotaGate is the scheduling gate of pods that wait for room in the quota of
// their tenant. Admission puts it there; the controller alone takes it off.
const QuotaGate = "redoubt.dev/tenant-quota"

// Who a tenant's users are: the platform's owner gives them certificates with
// these names (redoubt tenant kubeconfig), or his own identity provider does.
// No role's name can be made of them.
const (
	// TenantsGroup has the users of all tenants. They may look at runtime
	// classes, which are the cluster's.
	TenantsGroup = "redoubt:tenants"
	// TenantRole is the ClusterRole that a tenant's users have in each of its
	// namespaces, and nowhere else.
	TenantRole = "redoubt:tenant"
)

// TenantGroup has the users of one tenant whom an identity provider names.
func TenantGroup(tenant string) string { return "redoubt:tenant:" + tenant }

// CertificateGroup has one user of a tenant, as his certificates name it. No user
// whom an identity provider names, and no other tenant's, can be in it: names of
// tenants and users have no colons.
func CertificateGroup(tenant string, c TenantCredential) string {
	return TenantUser(tenant, c.User) + ":" + c.ID
}

// TenantUser is one of them.
func TenantUser(tenant, user string) string { return TenantGroup(tenant) + ":" + user }
