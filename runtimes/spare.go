package runtimes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// SpareVariable makes a runtime's server a spare: it listens at once, has no
// function, and becomes that of the first order whose token has the SHA-256
// digest that the variable holds, in hexadecimal.
const SpareVariable = "FUNC_SPARE"

// orderPath is where a spare takes its order. A server that has its function
// knows nothing of it.
const orderPath = "/redoubt/order"

// ErrTaken is a spare's that another order came to before.
var ErrTaken = errors.New("the spare is taken")

// Order is what makes a spare the instance of a function.
type Order struct {
	// Env is added to the environment.
	Env map[string]string `json:"env"`
	// Files are the function's source, by their paths in its folder.
	Files map[string][]byte `json:"files"`
}

// Digest is SpareVariable's value for a token.
func Digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Send gives the order to the spare at address, host:port, and returns when the
// function is loaded, whatever came of that: a function that cannot be loaded
// says so to its callers. ErrTaken is the only error after which the spare may
// not have changed.
func (o Order) Send(ctx context.Context, address, token string) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+orderPath, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	// No proxy of this process's environment stands between, and nothing that
	// the spare answers is read or followed.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("order a spare to load a function: %w", err)
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusConflict:
		return ErrTaken
	}
	return fmt.Errorf("order a spare to load a function: it answered %s", resp.Status)
}
