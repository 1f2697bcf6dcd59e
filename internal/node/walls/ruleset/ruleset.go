// Package ruleset is the table of nftables that walls are made of: as data,
// and as the scripts that make it, change it, and close it.
//
// A Ruleset says everything that the table has. What is different between two
// of them becomes one transaction, so that a pod that comes or goes changes
// elements of sets and nothing else.
package ruleset

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"strings"
)

// Table is the name of the table, of the family inet.
const Table = "redoubt-walls"

// Ruleset is all that the table has.
type Ruleset struct {
	Sets   map[string]Set
	Chains map[string]Chain
	// Notes are no part of the table: the policies that allow nothing here, and
	// why.
	Notes []string
}

// Set is a named set, or a map of verdicts.
type Set struct {
	// Type is the key's in nft's words, with " : verdict" for a map.
	Type string
	// Elements has a verdict for each key in maps, and nothing in sets.
	Elements map[string]string
}

// Chain is a named chain.
type Chain struct {
	// Hook is where the kernel enters the chain, as "forward priority -10";
	// empty for chains that rules enter.
	Hook  string
	Rules []string
}

// Types of sets.
const (
	Addresses = "ipv4_addr"
	Pairs     = "ipv4_addr . ipv4_addr"
	Endpoints = "ipv4_addr . inet_proto . inet_service"
	Verdicts  = "ipv4_addr : verdict"
)

// New returns an empty ruleset.
func New() *Ruleset { return &Ruleset{Sets: map[string]Set{}, Chains: map[string]Chain{}} }

// Add makes sure that there is a set, and gives it a key with a verdict, or an
// empty one.
func (r *Ruleset) Add(set, kind, key, verdict string) {
	r.Declare(set, kind)
	r.Sets[set].Elements[key] = verdict
}

// Declare makes sure that there is a set.
func (r *Ruleset) Declare(set, kind string) {
	if _, ok := r.Sets[set]; !ok {
		r.Sets[set] = Set{Type: kind, Elements: map[string]string{}}
	}
}

// Closed lets nothing through that pods send or are sent, but answers to what
// is sent to them. It holds the place of a table that nobody has made yet.
func Closed(pods netip.Prefix) *Ruleset {
	r := New()
	answers := "ct state established,related ct direction reply accept"
	r.Chains["closed-forward"] = Chain{Hook: "forward priority -10", Rules: []string{
		answers, fmt.Sprintf("ip saddr %s drop", pods), fmt.Sprintf("ip daddr %s drop", pods)}}
	r.Chains["closed-input"] = Chain{Hook: "input priority -10", Rules: []string{
		`iifname "lo" accept`, answers, fmt.Sprintf("ip saddr %s drop", pods)}}
	return r
}

// Name makes a name of something that may be long or hold what names may not.
// Different keys have different names, whoever chose them: a tenant must not
// be able to make his set become another's.
func Name(kind, key, readable string) string {
	const enough = 100
	sum := sha256.Sum256([]byte(key))
	name := kind + "-" + base32.HexEncoding.EncodeToString(sum[:10])
	readable = strings.Map(plain, readable)
	if readable != "" {
		name += "-" + readable[:min(len(readable), enough)]
	}
	return name
}

// plain keeps the characters of Kubernetes' names, which nft's may have too.
func plain(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-./", r) {
		return r
	}
	return '_'
}
