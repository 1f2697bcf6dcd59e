package wrk

import "testing"

const report = `Running 2s test @ http://127.0.0.1:80/
  1 threads and 32 connections
  Latency Distribution
     50%  780.00us
     75%    1.20ms
     90%    2.00ms
     99%    1.50s
  71000 requests in 2.00s, 9.00MB read
Requests/sec:  35500.25
Transfer/sec:      4.50MB
`

func TestRead(t *testing.T) {
	if s, err := read(report); err != nil || s != (Sample{35500.25, 0.78, 1500}) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := read(report + "  Non-2xx or 3xx responses: 7\n"); err == nil {
		t.Error("failed requests were counted")
	}
	if _, err := read("nothing"); err == nil {
		t.Error("nothing was understood")
	}
}
