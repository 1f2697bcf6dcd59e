// Package audit reads the audit log of an instance's API server and finds in it
// what was refused, and what needed privileges.
//
// The log is what users sent: names, addresses and messages are theirs. Each
// length is capped here, and nothing of them reaches a terminal as control.
package audit

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Verdict is what came of a request.
type Verdict string

// Verdicts.
const (
	Refused Verdict = "refused"
	Allowed Verdict = "allowed" // it needed privileges, which the user had
	Failed  Verdict = "failed"  // it needed privileges, and failed for another reason
)

// Record is a request that was refused or needed privileges.
type Record struct {
	Time time.Time `json:"time"`
	// Tenants are those of the user and of what the request was about.
	Tenants []string `json:"tenants,omitempty"`
	// User made the request; By is who acted as that user, if anybody did.
	User string `json:"user"`
	By   string `json:"by,omitempty"`
	// Verb and Resource are what was asked for: RESOURCE[.GROUP][/SUBRESOURCE],
	// or a path of the API server's.
	Verb      string  `json:"verb"`
	Resource  string  `json:"resource"`
	Namespace string  `json:"namespace,omitempty"`
	Name      string  `json:"name,omitempty"`
	Verdict   Verdict `json:"verdict"`
	// Code is the HTTP status of the answer, Reason what it said.
	Code   int    `json:"code"`
	Reason string `json:"reason,omitempty"`
	// Source is the address that the connection came from.
	Source string `json:"source,omitempty"`
}

// Filter says which records are wanted.
type Filter struct {
	// Since leaves out what was earlier.
	Since time.Time
	// Tenant leaves out what has nothing to do with it; empty is every tenant.
	Tenant string
	// TenantOf names the tenant of a namespace; empty where it has none.
	TenantOf func(namespace string) string
}

// longest is how much of a name or a message is kept, in characters.
const (
	longestName    = 256
	longestMessage = 2048
)

// record makes a record of a log's line; nil where it is none that is wanted.
func (f *Filter) record(line []byte) *Record {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Stage == "RequestReceived" || e.Time.Before(f.Since) {
		return nil // a line that a crash cut off is none
	}
	r := &Record{Time: e.Time, User: clean(e.User.Username, longestName), Verb: clean(e.Verb, longestName), Code: e.Status.Code}
	switch {
	case e.refused():
		r.Verdict = Refused
	case !e.privileged():
		return nil
	case e.Status.Code >= 400:
		r.Verdict = Failed
	default:
		r.Verdict = Allowed
	}
	r.Tenants = f.tenants(&e)
	if f.Tenant != "" && !slices.Contains(r.Tenants, f.Tenant) {
		return nil
	}
	if e.As != nil {
		r.By, r.User = r.User, clean(e.As.Username, longestName)
	}
	r.Resource = clean(e.RequestURI, longestName)
	if o := e.Object; o != nil {
		r.Resource = clean(o.kind(), longestName)
		r.Namespace, r.Name = clean(o.Namespace, longestName), clean(o.Name, longestName)
	}
	if r.Verdict != Allowed {
		r.Reason = clean(cmp.Or(e.Status.Message, e.Annotations["authorization.k8s.io/reason"]), longestMessage)
	}
	// All but the last are what the client says.
	if n := len(e.SourceIPs); n > 0 {
		r.Source = clean(e.SourceIPs[n-1], longestName)
	}
	return r
}

func (o *object) kind() string {
	kind := o.Resource
	if o.Group != "" {
		kind += "." + o.Group
	}
	if o.Subresource != "" {
		kind += "/" + o.Subresource
	}
	return kind
}

// tenants are the user's and the object's.
func (f *Filter) tenants(e *event) []string {
	var all []string
	add := func(tenant string) {
		if tenant != "" && !slices.Contains(all, tenant) {
			all = append(all, clean(tenant, longestName))
		}
	}
	user := &e.User
	if e.As != nil {
		user = e.As
	}
	for _, group := range user.Groups {
		if group, ok := strings.CutPrefix(group, "redoubt:tenant:"); ok {
			tenant, _, _ := strings.Cut(group, ":") // which certificates are good comes after it
			add(tenant)
		}
	}
	if account, ok := strings.CutPrefix(user.Username, "system:serviceaccount:"); ok {
		namespace, _, _ := strings.Cut(account, ":")
		add(f.TenantOf(namespace))
	}
	if o := e.Object; o != nil {
		if o.Resource == "tenants" && o.Group == "redoubt.dev" {
			add(o.Name)
		}
		add(f.TenantOf(o.Namespace))
	}
	return all
}

// clean is text on one line, without what a terminal would obey, and no longer
// than most characters.
func clean(text string, most int) string {
	runes := []rune(text[:min(len(text), 4*most)])
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = ' '
		}
	}
	if len(runes) > most {
		runes = append(runes[:most-1], '…')
	}
	return string(runes)
}
