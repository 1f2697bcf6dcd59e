package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"redoubt.dev/redoubt/runtimes/source"
)

const (
	// parts is the folder with the parts of an archive, which sort in their order.
	parts = "/parts"
	// unpacked is the folder of folder that its files get into.
	unpacked = "source"
	// most is the longest archive, in bytes.
	most = 32_000_000
)

// unpack unpacks the source where it comes in parts, from one folder to another,
// for the script to find.
func unpack(parts, to string) error {
	form := source.Form(os.Getenv("FUNC_SOURCE_FORM"))
	if form == source.Plain {
		return nil
	}
	data, err := join(parts)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if got, want := "sha256:"+hex.EncodeToString(sum[:]), os.Getenv("FUNC_SOURCE_CHECKSUM"); got != want {
		return fmt.Errorf("its parts have the checksum %s together, not the %s of spec.checksum; deploy it again", got, want)
	}
	files, err := source.Files(form, data, os.Getenv("FUNC_SOURCE_MAIN"), source.Large)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(to, filepath.FromSlash(f.Path))
		// A program is run as it is.
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, f.Data, 0o555)); err != nil {
			return err
		}
	}
	return os.Setenv("FUNC_FOLDER", to)
}

// join puts the parts together.
func join(dir string) ([]byte, error) {
	names, err := filepath.Glob(filepath.Join(dir, "[0-9]*"))
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	for _, name := range names { // Glob sorts
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if all.Len()+len(data) > most {
			return nil, fmt.Errorf("its parts have more than %d bytes together", most)
		}
		all.Write(data)
	}
	return all.Bytes(), nil
}
