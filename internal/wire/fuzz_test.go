package wire

import (
	"bytes"
	"reflect"
	"testing"
)

// replies are what the host decodes, requests what the guest decodes.
var (
	replies  = []message{&Empty{}, &Guest{}, &Started{}, &Exit{}, &Usage{}, &PIDs{}, &Content{}, &Event{}, &Clock{}}
	requests = []message{&Sandbox{}, &Container{}, &Command{}, &Ref{}, &Signal{}, &Size{}, &NewLimits{}, &Volume{}, &Address{}, &Processors{}, &Correction{}}
)

func fuzz(f *testing.F, kinds []message) {
	for i, m := range kinds {
		data, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), data)
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		like := reflect.TypeOf(kinds[int(kind)%len(kinds)]).Elem()
		m := reflect.New(like).Interface().(message)
		if decode(data, m) != nil {
			return
		}
		again, err := encode(m)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		same := reflect.New(like).Interface().(message)
		if err := decode(again, same); err != nil || !reflect.DeepEqual(m, same) {
			t.Fatalf("%+v came back as %+v, %v", m, same, err)
		}
	})
}

func FuzzHostDecodes(f *testing.F)  { fuzz(f, replies) }
func FuzzGuestDecodes(f *testing.F) { fuzz(f, requests) }

func FuzzReceive(f *testing.F) {
	f.Add([]byte{ok, 0, 0, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, body, err := receive(bytes.NewReader(data), MaxReply)
		if err == nil && len(body) > len(data) {
			t.Fatal("more was read than came")
		}
	})
}
