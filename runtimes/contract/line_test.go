package contract

import (
	"encoding/json"
	"testing"
	"time"
)

// A line is one object on one line, whatever is in it.
func TestLine(t *testing.T) {
	for _, text := range []string{"", "/plain?a=b", "quote \" and \\", "line\nbreak\x00", "<é>", "\xff", "\u2028"} {
		line := Line{Method: text, Path: text, ID: text}.append(nil, Text(500, "."+text+".\n"), 1500*time.Microsecond)
		var got struct {
			Method, Path, ID, Error string
			Status, Seconds         float64
		}
		want := text
		if text == "\xff" {
			want = "?"
		}
		if err := json.Unmarshal(line, &got); err != nil || got.Method != want || got.Path != want || got.ID != want || got.Error != "."+want+"." || got.Status != 500 || got.Seconds != 0.0015 {
			t.Errorf("%q: %s: %+v, %v", text, line, got, err)
		}
		for _, c := range line[:len(line)-1] {
			if c < ' ' {
				t.Errorf("%q: a line breaks off: %q", text, line)
			}
		}
	}
	if line := string(Line{Method: "GET", Path: "/", ID: "x"}.append(nil, Text(200, "ok"), time.Microsecond)); line != `{"method":"GET","path":"/","status":200,"seconds":0.000001,"id":"x"}`+"\n" {
		t.Error(line)
	}
}
