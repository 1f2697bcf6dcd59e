package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// A program that has ended has answered, though what it left running has its output
// still.
func TestAProgramThatLeavesAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\nsleep 20 &\necho hello\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, err := stdio{file}.Call(t.Context(), httptest.NewRequest(http.MethodPost, "/", nil), nil)
	if err != nil || string(a.Body) != "hello\n" {
		t.Errorf("%q, %v", a.Body, err)
	}
}
