// Command bare is the smallest server of Go's own library.
package main

import (
	"net/http"
	"os"
)

func main() {
	_ = http.ListenAndServe(":"+os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("hello"))
	}))
}
