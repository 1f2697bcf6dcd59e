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

// unpacked is the folder of folder that a source's files get into.
const unpacked = "source"

// unpack unpacks the source where it comes in parts, from one folder to another,
// for the script to find.
func unpack(parts, to string) error {
	form := source.Form(os.Getenv(source.FormVariable))
	if form == source.Plain {
		return nil
	}
	data, err := join(parts)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if got, want := "sha256:"+hex.EncodeToString(sum[:]), os.Getenv(source.ChecksumVariable); got != want {
		return fmt.Errorf("its parts have the checksum %s together, not the %s of spec.checksum; deploy it again", got, want)
	}
	files, err := source.Files(form, data, os.Getenv(source.MainVariable), source.Large)
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
		if all.Len()+len(data) > source.MaxArchive {
			return nil, fmt.Errorf("its parts have more than %d bytes together", source.MaxArchive)
		}
		all.Write(data)
	}
	return all.Bytes(), nil
}
