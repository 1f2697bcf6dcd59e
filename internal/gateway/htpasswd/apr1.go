package htpasswd

import (
	"crypto/md5"
	"errors"
	"strings"
)

// apr1Prefix begins Apache's MD5 hashes: $apr1$SALT$DIGEST.
const apr1Prefix = "$apr1$"

// apr1Alphabet are the digits of a digest, six bits each, the lowest first.
const apr1Alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

const (
	maxSalt    = 8
	apr1Rounds = 1000
	apr1Digits = 22
)

func checkAPR1(hash string) error {
	salt, digest, ok := strings.Cut(strings.TrimPrefix(hash, apr1Prefix), "$")
	if !ok || salt == "" || len(salt) > maxSalt || len(digest) != apr1Digits {
		return errors.New("the hash is no whole Apache MD5; make it with: htpasswd -nB USER")
	}
	return nil
}

// apr1 hashes a password (FreeBSD's MD5 crypt with Apache's prefix). Its many
// rounds only mix; they must be as they are for the digests to be the same.
func apr1(password, salt string) string {
	inner := md5.Sum([]byte(password + salt + password))
	first := []byte(password + apr1Prefix + salt)
	for n := len(password); n > 0; n -= md5.Size {
		first = append(first, inner[:min(n, md5.Size)]...)
	}
	for n := len(password); n > 0; n >>= 1 {
		if n&1 == 1 {
			first = append(first, 0)
		} else {
			first = append(first, password[0])
		}
	}
	sum := md5.Sum(first)
	for round := range apr1Rounds {
		sum = md5.Sum(apr1Round(round, password, salt, sum[:]))
	}
	return apr1Prefix + salt + "$" + apr1Digest(sum)
}

func apr1Round(round int, password, salt string, sum []byte) []byte {
	own, other := []byte(password), sum
	if round%2 == 0 {
		own, other = sum, []byte(password)
	}
	b := append([]byte(nil), own...)
	if round%3 != 0 {
		b = append(b, salt...)
	}
	if round%7 != 0 {
		b = append(b, password...)
	}
	return append(b, other...)
}

// apr1Digest writes a sum in the order that the format has.
func apr1Digest(sum [md5.Size]byte) string {
	var out []byte
	write := func(value uint32, digits int) {
		for range digits {
			out = append(out, apr1Alphabet[value&0x3f])
			value >>= 6
		}
	}
	for _, at := range [][3]int{{0, 6, 12}, {1, 7, 13}, {2, 8, 14}, {3, 9, 15}, {4, 10, 5}} {
		write(uint32(sum[at[0]])<<16|uint32(sum[at[1]])<<8|uint32(sum[at[2]]), 4)
	}
	write(uint32(sum[11]), 2)
	return string(out)
}
