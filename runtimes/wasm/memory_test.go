package main

import "testing"

func TestPages(t *testing.T) {
	for limit, want := range map[string]uint32{
		"": most, "none": most, "-1": most, "64Mi": 768, "128Mi": 1536, "128M": 1464, "1Gi": 12288, "134217728": 1536, "131072k": 1500, "64Gi": most, "1": 1, "1e8": 1144,
	} {
		if got := pages(limit); got != want {
			t.Errorf("%q is %d pages, want %d", limit, got, want)
		}
	}
}
