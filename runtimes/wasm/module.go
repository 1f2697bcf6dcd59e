package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"redoubt.dev/redoubt/runtimes/contract"
)

// module is one that is compiled.
type module struct {
	runtime wazero.Runtime
	code    wazero.CompiledModule
}

// compile makes code ready to run, in instances that have so many pages of memory
// at most.
func compile(ctx context.Context, code []byte, pages uint32) (*module, error) {
	// Code that never ends looks now and then whether its time is over.
	config := wazero.NewRuntimeConfig().WithCloseOnContextDone(true).WithMemoryLimitPages(pages)
	m := &module{runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, m.runtime); err != nil {
		return nil, err
	}
	var err error
	if m.code, err = m.runtime.CompileModule(ctx, code); err != nil {
		return nil, err
	}
	if _, ok := m.code.ExportedFunctions()["_start"]; !ok {
		return nil, errors.New("it is no WASI command: it exports no _start")
	}
	return m, nil
}

// Call runs an instance of the module.
func (m *module) Call(ctx context.Context, r *http.Request, body []byte) (contract.Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var out contract.Output
	var said contract.Tail
	config := wazero.NewModuleConfig().WithName("").WithArgs("function").
		WithStdin(bytes.NewReader(body)).WithStdout(ending{&out, cancel}).WithStderr(&said).
		WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader).
		WithNanosleep(func(ns int64) { sleep(ctx, time.Duration(ns)) })
	for _, e := range append(os.Environ(), contract.Environment(r)...) {
		name, value, _ := strings.Cut(e, "=")
		config = config.WithEnv(name, value)
	}
	instance, err := m.runtime.InstantiateModule(ctx, m.code, config)
	if instance != nil {
		defer instance.Close(context.WithoutCancel(ctx))
	}
	var exit *sys.ExitError
	switch {
	case out.Over() != nil:
		return contract.Answer{}, out.Over()
	case errors.As(err, &exit) && exit.ExitCode() == 0:
	case errors.As(err, &exit):
		return contract.Answer{}, said.Failed(fmt.Errorf("exit status %d", exit.ExitCode()))
	case err != nil:
		first, _, _ := strings.Cut(err.Error(), "\n")
		return contract.Answer{}, said.Failed(errors.New(first))
	}
	return out.Answer(), nil
}

// ending is an output that ends a call which writes too much: the module need
// not heed that it can write no more.
type ending struct {
	io.Writer
	end context.CancelFunc
}

func (e ending) Write(p []byte) (int, error) {
	n, err := e.Writer.Write(p)
	if err != nil {
		e.end()
	}
	return n, err
}

// sleep ends with the call at the latest.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
