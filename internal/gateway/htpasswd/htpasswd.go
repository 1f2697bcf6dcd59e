// Package htpasswd reads files of users and passwords as Apache's htpasswd
// writes them, and checks credentials against them.
//
// Known are bcrypt (htpasswd -B) and Apache's MD5 (the program's default).
// Hashes without salt and the old crypt are refused. A check takes as long as
// the hash wants; a pair that was right is remembered, under a key of this
// process's, and is quick from then on.
package htpasswd

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

const (
	// maxBytes bounds a file, maxUsers its lines.
	maxBytes = 64 << 10
	maxUsers = 1000
	// maxCost bounds what one check takes: each step doubles it, and 12 is
	// about a quarter of a second.
	maxCost = 12
	// maxPassword is the longest that is looked at, in bytes: bcrypt's.
	maxPassword = 72
	// maxKept bounds the pairs that are remembered.
	maxKept = 256
	// maxWaiting bounds who waits for a check: they are made one by one, so
	// that guessing takes one processor at most.
	maxWaiting = 32
)

// ErrBusy is that too many wait for a check.
var ErrBusy = errors.New("too many passwords are being checked; try again later")

// File is users and their passwords' hashes. It is ready for use by many
// goroutines.
type File struct {
	hashes  map[string]string // by user
	key     [32]byte          // of the pairs that are remembered
	waiting atomic.Int32
	checks  sync.Mutex // held during a check

	mu   sync.Mutex
	kept map[[sha256.Size]byte]bool // guarded by mu
}

// Parse reads a file: a line USER:HASH per user; empty lines and those that
// begin with # count for nothing. Errors name the line and no hash.
func Parse(data []byte) (*File, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("it has %d bytes, and at most %d are read", len(data), maxBytes)
	}
	f := &File{hashes: map[string]string{}, kept: map[[sha256.Size]byte]bool{}}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return nil, fmt.Errorf("line %d is not USER:HASH", n+1)
		}
		if err := check(hash); err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		f.hashes[user] = hash
	}
	if len(f.hashes) == 0 || len(f.hashes) > maxUsers {
		return nil, fmt.Errorf("it has %d users, and must have 1 to %d", len(f.hashes), maxUsers)
	}
	_, err := rand.Read(f.key[:])
	return f, err
}

func check(hash string) error {
	if strings.HasPrefix(hash, apr1Prefix) {
		return checkAPR1(hash)
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return errors.New("the hash is neither bcrypt's nor Apache's MD5; make it with: htpasswd -nB USER")
	}
	if cost > maxCost {
		return fmt.Errorf("the hash's cost is %d, and at most %d is taken", cost, maxCost)
	}
	return nil
}

// Check says whether the password is the user's. The error is ErrBusy.
func (f *File) Check(user, password string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	pair := f.pair(user, password)
	f.mu.Lock()
	known := f.kept[pair]
	f.mu.Unlock()
	if known {
		return true, nil
	}
	if f.waiting.Add(1) > maxWaiting {
		f.waiting.Add(-1)
		return false, ErrBusy
	}
	defer f.waiting.Add(-1)
	f.checks.Lock()
	right := f.right(user, password)
	f.checks.Unlock()
	if right {
		f.keep(pair)
	}
	return right, nil
}

// right compares. A user who is not there takes as long as one who is.
func (f *File) right(user, password string) bool {
	hash, known := f.hashes[user]
	if !known {
		for _, hash = range f.hashes {
			break
		}
	}
	return matches(hash, password) && known
}

func matches(hash, password string) bool {
	if strings.HasPrefix(hash, apr1Prefix) {
		salt, _, _ := strings.Cut(strings.TrimPrefix(hash, apr1Prefix), "$")
		return subtle.ConstantTimeCompare([]byte(hash), []byte(apr1(password, salt))) == 1
	}
	return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
}

func (f *File) pair(user, password string) (pair [sha256.Size]byte) {
	mac := hmac.New(sha256.New, f.key[:])
	mac.Write(bytes.Join([][]byte{[]byte(user), []byte(password)}, []byte{0}))
	mac.Sum(pair[:0])
	return pair
}

func (f *File) keep(pair [sha256.Size]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kept) >= maxKept {
		clear(f.kept)
	}
	f.kept[pair] = true
}
