package htpasswd

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// Hashes that openssl made, and one of bcrypt.
func TestCheck(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("geheim"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse([]byte("# users\n\nann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\r\nbob:$apr1$x$36UwFAnaTGkQJPjzQPDec1\neve:" + string(hash) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		user, password string
		right          bool
	}{
		{"ann", "secret", true}, {"ann", "secret", true}, {"ann", "Secret", false}, {"ann", "", false},
		{"bob", "a much longer password of thirty-seven", true}, {"bob", "secret", false},
		{"eve", "geheim", true}, {"eve", "secret", false}, {"eve", strings.Repeat("x", 100), false},
		{"mallory", "secret", false}, {"", "", false},
		{"ann\x00secret", "", false},
	} {
		if got, err := f.Check(tc.user, tc.password); got != tc.right || err != nil {
			t.Errorf("%q, %q: %v, %v", tc.user, tc.password, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const good = "ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n"
	for title, tc := range map[string]struct{ file, says string }{
		"nothing":          {"", "0 users"},
		"no hash":          {"ann", "line 1 is not USER:HASH"},
		"no user":          {good + ":x", "line 2 is not USER:HASH"},
		"a password":       {"ann:secret", "neither bcrypt's nor"},
		"SHA-1":            {"ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "neither bcrypt's nor"},
		"a broken digest":  {"ann:$apr1$abcdefgh$h9", "no whole Apache MD5"},
		"a long salt":      {"ann:$apr1$abcdefghi$h9FWgUz3n9YxylKLlR5SQ/", "no whole Apache MD5"},
		"a cost too great": {"ann:$2y$13$" + strings.Repeat("a", 53), "cost is 13"},
		"a large file":     {strings.Repeat("#", maxBytes+1), "65537 bytes"},
	} {
		if _, err := Parse([]byte(tc.file)); err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", title, err)
		}
	}
	if _, err := Parse([]byte(good)); err != nil {
		t.Errorf("the control: %v", err)
	}
}
