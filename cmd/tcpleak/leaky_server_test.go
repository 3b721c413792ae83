package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// leakyServer serves HTTP, takes over each connection, as for a WebSocket, and forgets every third.
func leakyServer() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var forgotten []net.Conn
	served := 0
	fmt.Fprintln(os.Stderr, "serving")
	_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwell\n")
		if served++; served%3 == 0 {
			forgotten = append(forgotten, c) // or the garbage collector would close it
			return
		}
		_ = c.Close()
	}))
}
