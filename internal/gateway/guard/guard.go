// Package guard judges requests by what an HTTPTrigger or a DomainMapping asks
// of them: TLS, a user's password, and whether pages of other origins may send
// them.
//
// A guard knows nothing of its secrets until Load has read them, and lets
// nothing through where it needs one that it does not have.
package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	"redoubt.dev/redoubt/api/serving/v1beta1"
	"redoubt.dev/redoubt/internal/claim"
	"redoubt.dev/redoubt/internal/gateway/balance"
	"redoubt.dev/redoubt/internal/gateway/htpasswd"
)

// usersKey is the key of a secret that has users and passwords, as Kubeless
// names it.
const usersKey = "auth"

// Owner is the object that a guard is of.
type Owner struct {
	Kind string // claim.Trigger or claim.Mapping
	types.NamespacedName
}

func (o Owner) String() string { return o.Kind + " " + o.NamespacedName.String() }

// Guard is one object's. It is ready for use by many goroutines.
type Guard struct {
	owner              Owner
	users, certificate string // names of secrets; empty: none
	cors               bool

	file    atomic.Pointer[htpasswd.File]
	pair    atomic.Pointer[tls.Certificate]
	problem atomic.Pointer[string] // why a secret cannot be used
}

// OfTrigger returns the guard of a trigger.
func OfTrigger(t *kubeless.HTTPTrigger) *Guard {
	return newGuard(&Guard{
		owner: Owner{claim.Trigger, types.NamespacedName{Namespace: t.Namespace, Name: t.Name}},
		users: t.Spec.BasicAuthSecret, certificate: t.Spec.TLSSecret, cors: t.Spec.CORSEnable,
	})
}

// OfMapping returns the guard of a domain mapping, nil where it asks nothing.
func OfMapping(m *v1beta1.DomainMapping) *Guard {
	if m.Spec.TLS == nil {
		return nil
	}
	return newGuard(&Guard{
		owner:       Owner{claim.Mapping, types.NamespacedName{Namespace: m.Namespace, Name: m.Name}},
		certificate: m.Spec.TLS.SecretName,
	})
}

func newGuard(g *Guard) *Guard {
	if g.HasSecrets() {
		g.fail("its secrets have not been read yet")
	}
	return g
}

// Owner is whose it is.
func (g *Guard) Owner() Owner { return g.owner }

// Inherit takes over what an earlier guard of the same owner has read, if the
// same secrets are named: a change of something else must not close it for a
// moment.
func (g *Guard) Inherit(earlier *Guard) {
	if g.users != earlier.users || g.certificate != earlier.certificate {
		return
	}
	g.file.Store(earlier.file.Load())
	g.pair.Store(earlier.pair.Load())
	g.problem.Store(earlier.problem.Load())
}

// HasSecrets says whether there is anything to Load.
func (g *Guard) HasSecrets() bool { return g.users != "" || g.certificate != "" }

// CORS says whether answers are for pages of all origins. A nil guard's are
// left as they are.
func (g *Guard) CORS() bool { return g != nil && g.cors }

// TakesPassword says whether the Authorization header is for the gateway, not
// for the function.
func (g *Guard) TakesPassword() bool { return g != nil && g.users != "" }

// Certificate is the owner's own; own is false if it names none, and the
// pair nil while it cannot be used.
func (g *Guard) Certificate() (pair *tls.Certificate, own bool) {
	if g == nil || g.certificate == "" {
		return nil, false
	}
	return g.pair.Load(), true
}

// Reader reads the data of a secret.
type Reader func(ctx context.Context, name types.NamespacedName) (map[string][]byte, error)

// Load reads the secrets. What was read before is kept where that cannot be
// done for the moment. The error is for the log.
func (g *Guard) Load(ctx context.Context, read Reader) error {
	err := errors.Join(g.loadUsers(ctx, read), g.loadCertificate(ctx, read))
	if err == nil {
		g.problem.Store(nil)
	}
	return err
}

func (g *Guard) loadUsers(ctx context.Context, read Reader) error {
	if g.users == "" {
		return nil
	}
	data, err := g.secret(ctx, read, g.users, usersKey)
	if err != nil {
		return err
	}
	file, err := htpasswd.Parse(data[usersKey])
	if err != nil {
		return g.fail(fmt.Sprintf("secret %q, key %s: %v", g.users, usersKey, err))
	}
	g.file.Store(file)
	return nil
}

func (g *Guard) loadCertificate(ctx context.Context, read Reader) error {
	if g.certificate == "" {
		return nil
	}
	data, err := g.secret(ctx, read, g.certificate, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return g.fail(fmt.Sprintf("secret %q: its certificate and key are no pair: %v", g.certificate, err))
	}
	g.pair.Store(&pair)
	return nil
}

// secret reads one that must have keys.
func (g *Guard) secret(ctx context.Context, read Reader, name string, keys ...string) (map[string][]byte, error) {
	data, err := read(ctx, types.NamespacedName{Namespace: g.owner.Namespace, Name: name})
	switch {
	case apierrors.IsNotFound(err):
		return nil, g.fail(fmt.Sprintf("there is no secret %q", name))
	case apierrors.IsForbidden(err):
		return nil, g.fail(fmt.Sprintf("the gateway may not read secret %q", name))
	case err != nil:
		return nil, fmt.Errorf("read secret %s/%s: %w", g.owner.Namespace, name, err)
	}
	for _, key := range keys {
		if len(data[key]) == 0 {
			return nil, g.fail(fmt.Sprintf("secret %q has no key %s", name, key))
		}
	}
	return data, nil
}

func (g *Guard) fail(problem string) error {
	g.problem.Store(&problem)
	return fmt.Errorf("%s: %s", g.owner, problem)
}

// Request is what of a request is judged.
type Request struct {
	Method string
	// Scheme is http or https; Host and Target are as the client sent them.
	Scheme, Host, Target string
	// Authorization is the header's value, empty where there is not exactly
	// one.
	Authorization string
	// Preflight says that a browser asks whether a page of another origin may
	// send a request: the headers Origin and Access-Control-Request-Method.
	Preflight bool
}

// Judge returns nil for requests to let through, and what to answer to others.
func (g *Guard) Judge(r *Request) *balance.Refusal {
	if problem := g.problem.Load(); problem != nil {
		return &balance.Refusal{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("%s lets nothing through: %s", g.owner, *problem)}
	}
	if g.certificate != "" && r.Scheme == "http" {
		return &balance.Refusal{
			Status: http.StatusPermanentRedirect, Message: "this host is served over TLS",
			Header: [][2]string{{"Location", "https://" + r.Host + r.Target}},
		}
	}
	if g.cors && r.Preflight && r.Method == http.MethodOptions {
		return preflight
	}
	if g.users != "" {
		return g.admit(r)
	}
	return nil
}

// preflight allows what browsers ask for. It needs no password: a browser
// sends none with the question. The header Authorization must be named, a
// star does not stand for it.
var preflight = &balance.Refusal{
	Status: http.StatusOK, Message: "requests of all origins are allowed",
	Header: [][2]string{
		{"Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
		{"Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Range, If-Match, If-None-Match, If-Modified-Since, Cache-Control, " +
			"X-Requested-With, X-Request-Id, traceparent, event-id, event-type, event-time, event-namespace"},
		{"Access-Control-Max-Age", fmt.Sprint(int(preflightAge.Seconds()))},
	},
}

// preflightAge is how long a browser may remember the answer.
const preflightAge = time.Hour

// AllowOrigin is the header that CORS adds to every answer.
const AllowOrigin = "Access-Control-Allow-Origin"

func (g *Guard) admit(r *Request) *balance.Refusal {
	user, password, ok := credentials(r.Authorization)
	if ok {
		right, err := g.file.Load().Check(user, password)
		if err != nil {
			return &balance.Refusal{Status: http.StatusServiceUnavailable, Message: err.Error()}
		}
		ok = right
	}
	if !ok {
		return &balance.Refusal{
			Status: http.StatusUnauthorized, Message: "this needs a user and the right password",
			Header: [][2]string{{"WWW-Authenticate", `Basic realm="` + g.owner.Name + `", charset="UTF-8"`}},
		}
	}
	return nil
}

// credentials reads an Authorization header of RFC 7617.
func credentials(header string) (user, password string, ok bool) {
	r := http.Request{Header: http.Header{"Authorization": {header}}}
	user, password, ok = r.BasicAuth()
	return user, password, ok && !strings.ContainsRune(user, 0)
}
