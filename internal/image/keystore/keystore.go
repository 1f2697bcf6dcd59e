// Package keystore writes the authorities that Java trusts, in Java's own
// format (JKS). The distribution writes them in a script that an image build
// does not run.
package keystore

import (
	"bytes"
	"crypto/sha1" // the format's checksum; nothing rests on it
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"unicode/utf16"
)

const (
	magic, version = 0xFEEDFEED, 2
	trusted        = 2 // the kind of entry
	// password is Java's default. It keeps nothing secret.
	password = "changeit"
)

// Trust is a store of the certificates that bundle holds in PEM, the same for
// the same bundle.
func Trust(bundle []byte) ([]byte, error) {
	var certificates [][]byte
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		certificates = append(certificates, block.Bytes)
	}
	if len(certificates) == 0 {
		return nil, errors.New("the authorities that this machine trusts hold no certificate in PEM")
	}
	var out bytes.Buffer
	put := func(v any) { _ = binary.Write(&out, binary.BigEndian, v) } // a buffer takes all
	text := func(s string) { put(uint16(len(s))); out.WriteString(s) }
	put(uint32(magic))
	put(uint32(version))
	put(uint32(len(certificates)))
	for n, der := range certificates {
		put(uint32(trusted))
		text(fmt.Sprintf("authority-%d", n))
		put(uint64(0)) // when it was added
		text("X.509")
		put(uint32(len(der)))
		out.Write(der)
	}
	sum := sha1.New()
	_ = binary.Write(sum, binary.BigEndian, utf16.Encode([]rune(password)))
	sum.Write([]byte("Mighty Aphrodite")) // part of the format
	sum.Write(out.Bytes())
	return sum.Sum(out.Bytes()), nil
}
