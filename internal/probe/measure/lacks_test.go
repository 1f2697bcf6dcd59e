package measure

import "testing"

func TestLacks(t *testing.T) {
	node := func(hostPID, setting string) Measured {
		return Measured{Fields: map[string]string{"hostPID": hostPID, sysctl("a.b"): setting}}
	}
	const declared = "hostPID=its own\ncontainers.volumeDevices=no devices\n\nnonsense\n"
	for _, test := range []struct {
		name  string
		nodes map[string]Measured
		want  string
	}{
		{"not measured", nil, "containers.volumeDevices=no devices\nhostPID=its own\n"},
		{"works", map[string]Measured{"a": node("yes", "yes")}, "containers.volumeDevices=no devices\n"},
		{"fails", map[string]Measured{"a": node("no\nhostNetwork=such", "yes")},
			"containers.volumeDevices=no devices\nhostPID=its own (measured on node a)\n"},
		{"fails undeclared, on one of two", map[string]Measured{"a": node("yes", "yes"), "b": node("yes", "none\nsuch=x; do not")},
			"containers.volumeDevices=no devices\nsecurityContext.sysctls[a.b]=none such=x (measured on node b)\n"},
	} {
		if got := lacks(declared, test.nodes); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestCause(t *testing.T) {
	for message, want := range map[string]string{
		`Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox "1": failed to create shim task: invalid argument: hostPID: no`: "hostPID: no",
		"Failed to create pod sandbox: can't set it": "can't set it",
		"two\nlines": "two lines",
	} {
		if got := cause(message); got != want {
			t.Errorf("%q is caused by %q, want %q", message, got, want)
		}
	}
}
