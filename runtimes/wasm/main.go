// Command wasm runs one WebAssembly module behind HTTP, as the function of its
// runtime. The module is a WASI command: each call is an instance of it with a
// memory of its own, which reads the body from its standard input and answers on
// its standard output. It has clocks and random numbers, but no files and no
// network, whatever it was compiled from: a wall inside that of the sandbox.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"redoubt.dev/redoubt/runtimes/contract"
)

// load compiles the module.
func load(ctx context.Context) (contract.Caller, error) {
	name, way := contract.Setting("MOD_NAME", "")+".wasm", contract.Setting("FUNC_HANDLER", "")
	code, err := os.ReadFile(filepath.Join(contract.Setting("FUNC_FOLDER", "/kubeless"), name))
	if err != nil {
		return nil, contract.Problemf(500, "the function's source %s is missing; name its file in the handler, as in FILE.stdio", name)
	}
	if way != "stdio" {
		return nil, contract.Problemf(500, "%s has no function %s; a module is called as FILE.stdio", name, way)
	}
	m, err := compile(ctx, code, pages(contract.Setting("FUNC_MEMORY_LIMIT", "")))
	if err != nil {
		return nil, contract.Problemf(500, "%s cannot be loaded: %v", name, err)
	}
	return m, nil
}

func main() {
	if err := contract.Serve(load(context.Background())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
