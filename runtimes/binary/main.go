// Command binary runs one program behind HTTP, as the function of its runtime.
//
// The handler is FILE.stdio, where the program is started for every call, reads
// the body from its standard input and answers on its standard output; or
// FILE.http, where it is started once, serves HTTP on $PORT, and is passed the
// requests.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"redoubt.dev/redoubt/runtimes/contract"
)

// load finds the program and how it is called.
func load() (contract.Caller, error) {
	file := filepath.Join(contract.Setting("FUNC_FOLDER", "/kubeless"), contract.Setting("MOD_NAME", ""))
	way := contract.Setting("FUNC_HANDLER", "")
	name := filepath.Base(file)
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, contract.Problemf(500, "the function's source %s is missing; name its file in the handler, as in FILE.stdio", name)
	case info.Mode()&0o111 == 0:
		return nil, contract.Problemf(500, "%s cannot be loaded: it is not executable", name)
	case way == "stdio":
		return newStdio(file)
	case way == "http":
		return newServing(file)
	}
	return nil, contract.Problemf(500, "%s has no function %s; a program is called as FILE.stdio or FILE.http", name, way)
}

func main() {
	// Whatever ends this server ends the program that it started.
	if err := contract.Serve(load()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
