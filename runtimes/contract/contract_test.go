package contract

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// status is a function that answers with one.
type status int

func (s status) Call(context.Context, *http.Request, []byte) (Answer, error) {
	return Text(int(s), "hello"), nil
}

// A status that is none has an answer all the same, which says so.
func TestStatuses(t *testing.T) {
	for given, want := range map[status]int{200: 200, 418: 418, 599: 599, 7: 500, 101: 500, 103: 500, 600: 500, 1000: 500} {
		site := httptest.NewServer(Handler(given, nil, &counters{}))
		t.Cleanup(site.Close)
		resp, err := http.Get(site.URL)
		if err != nil {
			t.Errorf("%d: %v", given, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || int(given) != want && !strings.Contains(string(body), "which is that of no answer") {
			t.Errorf("%d became %d, %s", given, resp.StatusCode, body)
		}
	}
}
