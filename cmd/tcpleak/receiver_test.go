package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// receiver is a program for tests, the other end of a webhook: webhook-receiver ADDRESS FILE [last]. It appends what is posted
// to FILE, then answers. With "last" it dies between the two.
func receiver() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "webhook-receiver:", err)
			os.Exit(1)
		}
	}
	file, err := os.OpenFile(os.Args[2], os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	fail(err)
	listener, err := net.Listen("tcp", os.Args[1])
	fail(err)
	fmt.Fprintln(os.Stderr, "ready")
	fail(http.Serve(listener, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fail(err)
		_, err = file.Write(body)
		fail(err)
		if len(os.Args) > 3 {
			self, err := os.FindProcess(os.Getpid())
			fail(err)
			fail(self.Kill())
			select {}
		}
	})))
}
