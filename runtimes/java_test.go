package runtimes

import (
	"net/http"
	"strings"
	"testing"
)

// A result that cannot be written is a failure of the function's, which has an
// answer, like one that has no end.
func TestJavaResultsThatCannotBeWritten(t *testing.T) {
	const source = `
import java.util.*;
public class test {
    static class Silent extends RuntimeException {
        @Override public String getMessage() { throw new IllegalStateException(); }
    }
    public Object run(io.kubeless.Event event, io.kubeless.Context context) {
        switch (event.EventType) {
            case "itself":
                Map<String, Object> map = new HashMap<>();
                map.put("map", map);
                return map;
            case "throwing":
                return new Object() {
                    @Override public String toString() { throw new IllegalStateException("no text"); }
                };
            case "silent":
                throw new Silent();
            case "endless":
                return (Iterable<String>) () -> { while (true) { } };
            default:
                return event.Data;
        }
    }
}
`
	r, err := Get("java")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, r, source, "run", hasty)
	for _, tc := range []struct {
		function, want string
		status         int
	}{
		{"itself", "the function failed: java.lang.StackOverflowError", http.StatusInternalServerError},
		{"throwing", "the function failed: java.lang.IllegalStateException: no text", http.StatusInternalServerError},
		{"silent", "the function failed: test$Silent", http.StatusInternalServerError},
		{"endless", "within 2 seconds", http.StatusRequestTimeout},
		{"echo", "x", http.StatusOK},
	} {
		if status, got := s.call(t, tc.function, "text/plain", "x"); status != tc.status || !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %d %q, want %d %q", tc.function, status, got, tc.status, tc.want)
		}
	}
	s.checkMetrics(t, 5, 4)
}
