package trigger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"regexp"
	"strings"
	"time"
)

const (
	// structured is the media type of a CloudEvent that is all in the body: its
	// attributes, and its data in one of them. In binary mode the attributes are
	// headers, and the body is the data.
	structured = "application/cloudevents+json"
	// maxAttributes is how many attributes an event may have, and maxAttribute
	// how long one may be, in bytes as a header.
	maxAttributes = 50
	maxAttribute  = 1024
)

// attribute is the header of a CloudEvent's attribute.
var attribute = regexp.MustCompile(`^ce-[a-z0-9]{1,20}$`)

// media is a media type without its parameters.
func media(kind string) string {
	name, _, err := mime.ParseMediaType(kind)
	if err != nil {
		return ""
	}
	return name
}

func isJSON(kind string) bool {
	name := media(kind)
	return name == "application/json" || strings.HasSuffix(name, "+json")
}

// complete says whether the attributes are those of a CloudEvent.
func complete(header map[string]string) bool {
	return header["ce-specversion"] == "1.0" && header["ce-id"] != "" && header["ce-source"] != "" && header["ce-type"] != ""
}

// content is a CloudEvent in binary mode.
type content struct {
	// header are its attributes, without the data's media type, which is kind.
	header map[string]string
	kind   string
	data   []byte
}

// unpack reads a CloudEvent in structured mode. Whatever is none, or has more
// attributes or longer ones than headers may be, is not ok.
func unpack(text []byte) (c content, ok bool) {
	var members map[string]json.RawMessage
	if !bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) || json.Unmarshal(text, &members) != nil || len(members) > maxAttributes {
		return c, false
	}
	c.header = map[string]string{}
	for name, raw := range members {
		if name == "data" || name == "data_base64" || string(raw) == "null" {
			continue
		}
		value, err := canonical(raw)
		if err != nil || !attribute.MatchString("ce-"+name) || len(value) > maxAttribute {
			return c, false
		}
		c.header["ce-"+name] = value
	}
	if c.kind = c.header["ce-datacontenttype"]; c.kind == "" {
		c.kind = "application/json"
	}
	delete(c.header, "ce-datacontenttype")
	c.data, ok = payload(c.kind, members)
	return c, ok && complete(c.header) && plain(c.kind)
}

// canonical is an attribute's value as a header has it.
func canonical(raw json.RawMessage) (string, error) {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return "", err
	}
	switch v := value.(type) {
	case string:
		return escape(v), nil
	case bool, json.Number:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("an attribute is neither text nor a number: %.40s", raw)
}

// payload is the event's data: JSON as it is there, text or bytes.
func payload(kind string, members map[string]json.RawMessage) (data []byte, ok bool) {
	if packed, ok := members["data_base64"]; ok {
		err := json.Unmarshal(packed, &data)
		return data, err == nil
	}
	raw := members["data"]
	var text string
	if !isJSON(kind) && json.Unmarshal(raw, &text) == nil {
		return []byte(text), true
	}
	return raw, true
}

// escape writes what a header cannot hold as %XX, as CloudEvents do.
func escape(value string) string {
	var out strings.Builder
	for _, c := range []byte(value) {
		if c <= 0x20 || c > 0x7e || c == '"' || c == '%' {
			fmt.Fprintf(&out, "%%%02X", c)
			continue
		}
		out.WriteByte(c)
	}
	return out.String()
}

// take makes e the event that c is: it says of itself what it is.
func (e *event) take(c content) { e.header, e.kind, e.data = c.header, c.kind, c.data }

// message is a function's answer as a message of NATS, in the mode that it has;
// ok says whether it is a CloudEvent at all.
func (a answer) message() (header map[string][]string, ok bool) {
	if media(a.kind) == structured {
		_, ok := unpack(a.body)
		return map[string][]string{"Content-Type": {a.kind}}, ok
	}
	if !complete(a.header) {
		return nil, false
	}
	header = map[string][]string{}
	for name, value := range a.header {
		header[name] = []string{value}
	}
	if a.kind != "" {
		header["ce-datacontenttype"] = []string{a.kind}
	}
	return header, true
}

// attributes are those of a CloudEvent among headers, by their names in lower
// case. What is there twice, or is not plain, is left out.
func attributes(header map[string][]string) map[string]string {
	all := map[string]string{}
	for name, values := range header {
		name = strings.ToLower(name)
		if len(values) == 1 && plain(values[0]) && attribute.MatchString(name) && len(all) < maxAttributes {
			all[name] = values[0]
		}
	}
	return all
}

// headers are those of the call: Kubeless's, and a CloudEvent's in the binary
// mode of its HTTP binding, unless the body has its attributes.
func (e *event) headers() map[string]string {
	all := map[string]string{
		"content-type": e.kind, "event-id": e.id, "event-type": e.kind, "event-time": e.time.UTC().Format(time.RFC3339),
		"event-namespace": e.source, "x-request-id": e.id,
	}
	switch {
	case media(e.kind) == structured:
	case e.header["ce-specversion"] != "":
		maps.Copy(all, e.header)
	default:
		maps.Copy(all, map[string]string{"ce-specversion": "1.0", "ce-id": e.id, "ce-source": e.origin, "ce-type": e.what, "ce-time": e.time.UTC().Format(time.RFC3339Nano)})
		if plain(e.subject) && e.subject != "" {
			all["ce-subject"] = e.subject
		}
	}
	return all
}
