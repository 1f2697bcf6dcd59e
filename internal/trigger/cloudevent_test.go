package trigger

import (
	"maps"
	"testing"

	"redoubt.dev/redoubt/internal/trigger/jetstream"
)

// A call is a CloudEvent in HTTP's binary mode, and one that already is keeps
// what it says of itself. Nothing of a message becomes another header.
func TestMessagesBecomeCloudEvents(t *testing.T) {
	s := jetstream.Subscription{Namespace: "shop", Trigger: "paid", Function: "invoice", Topic: "orders.>"}
	m := jetstream.Message{ID: "orders-7", Subject: "orders.paid", Data: []byte(`{"a":1}`), Time: at(t, "2026-01-01T10:00:00Z")}
	e := eventOf(s, m)
	for name, want := range map[string]string{
		"content-type": "application/json", "event-id": "orders-7", "event-namespace": natsSource, "event-time": "2026-01-01T10:00:00Z",
		"ce-specversion": "1.0", "ce-id": "orders-7", "ce-source": "/namespaces/shop/natstriggers/paid", "ce-type": "io.kubeless.natstrigger",
		"ce-time": "2026-01-01T10:00:00Z", "ce-subject": "orders.paid",
	} {
		if got := e.headers()[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	m.Header = map[string][]string{
		"Ce-Specversion": {"1.0"}, "ce-id": {"own"}, "ce-source": {"/own"}, "ce-type": {"own.type"}, "ce-more": {"x"}, "Content-Type": {"text/csv"},
		"ce-bad": {"a\r\nHost: other"}, "ce-twice": {"a", "b"}, "Host": {"other"}, "Authorization": {"secret"}, "event-id": {"forged"}, "ce-Über": {"x"},
	}
	e = eventOf(s, m)
	got := e.headers()
	for name, want := range map[string]string{
		"ce-id": "own", "ce-source": "/own", "ce-type": "own.type", "ce-more": "x", "content-type": "text/csv", "event-id": "orders-7",
		"ce-bad": "", "ce-twice": "", "host": "", "authorization": "", "ce-subject": "",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

// own is a CloudEvent in structured mode, with what its data is.
func own(data string) string {
	return `{"specversion": "1.0", "id": "own", "source": "/ow n", "type": "own.type", "more": 7, "none": null, ` + data + `}`
}

// A message in structured mode comes to the function in binary mode.
func TestStructuredCloudEventsAreUnpacked(t *testing.T) {
	s := jetstream.Subscription{Namespace: "shop", Trigger: "paid", Function: "invoice", Topic: "orders.>"}
	with := map[string][]string{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}
	for data, want := range map[string][2]string{
		`"data": {"a": 1}`: {"application/json", `{"a": 1}`},
		`"data": "text"`:   {"application/json", `"text"`},
		`"datacontenttype": "text/csv", "data": "a,b"`:              {"text/csv", "a,b"},
		`"datacontenttype": "image/png", "data_base64": "iVBORw=="`: {"image/png", "\x89PNG"},
		`"datacontenttype": "application/x+json", "data": [1]`:      {"application/x+json", "[1]"},
		`"subject": "x"`: {"application/json", ""},
	} {
		for title, header := range map[string]map[string][]string{"declared": with, "by its content": nil} {
			e := eventOf(s, jetstream.Message{ID: "orders-7", Subject: "orders.paid", Data: []byte(own(data)), Header: header})
			got := e.headers()
			if got["content-type"] != want[0] || string(e.data) != want[1] || got["ce-id"] != "own" || got["ce-source"] != "/ow%20n" || got["ce-more"] != "7" || got["event-id"] != "orders-7" {
				t.Errorf("%s, %s: %q with %v, want %q", data, title, e.data, got, want)
			}
		}
	}
	// What is none comes as it is, without other attributes beside.
	for _, text := range []string{`{"specversion": "1.0"}`, `{`, `[]`, `{"specversion":"1.0","id":"1","source":"/s","type":"t","Bad":"x"}`, `{"specversion":"1.0","id":"1","source":"/s","type":"t","deep":{}}`} {
		e := eventOf(s, jetstream.Message{Data: []byte(text), Header: with})
		if got := e.headers(); string(e.data) != text || got["content-type"] != with["Content-Type"][0] || got["ce-id"] != "" {
			t.Errorf("%s: %q with %v", text, e.data, got)
		}
	}
}

// An answer that is a CloudEvent is published in the mode that it has; another
// is not.
func TestAnswersThatAreCloudEvents(t *testing.T) {
	attributes := map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-more": "x"}
	lacking := maps.Clone(attributes)
	delete(lacking, "ce-source")
	for title, tc := range map[string]struct {
		answer answer
		is     bool
		name   string
		value  string
	}{
		"binary":             {answer{header: attributes, kind: "text/csv", body: []byte("a")}, true, "ce-datacontenttype", "text/csv"},
		"binary, an id":      {answer{header: attributes, kind: "text/csv"}, true, "ce-more", "x"},
		"structured":         {answer{kind: structured, body: []byte(own(`"data": 1`))}, true, "Content-Type", structured},
		"structured, broken": {answer{kind: structured, body: []byte("{}")}, false, "", ""},
		"lacking":            {answer{header: lacking, kind: "text/csv"}, false, "", ""},
		"any other":          {answer{kind: "application/json", body: []byte(own(`"data": 1`))}, false, "", ""},
	} {
		header, ok := tc.answer.message()
		if ok != tc.is || ok && (len(header[tc.name]) != 1 || header[tc.name][0] != tc.value) {
			t.Errorf("%s: %v, %v", title, header, ok)
		}
	}
}
