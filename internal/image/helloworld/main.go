// Command helloworld answers every HTTP request with a greeting: the hello
// world that Knative's documentation deploys first. It greets $TARGET, World
// where that is not set, and listens on $PORT, 8080 by default.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	target := os.Getenv("TARGET")
	if target == "" {
		target = "World"
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "Hello %s!\n", target)
	})
	log.Fatal(http.ListenAndServe(":"+port, nil))
}
