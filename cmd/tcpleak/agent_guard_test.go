package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestGuard(t *testing.T) {
	reached := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	own := ownNames("agent.test:9777", "Web1.Example.Net")
	loopback, outside := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9777}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 9777}
	for _, tt := range []struct {
		name    string
		host    string
		path    string
		at      net.Addr
		headers map[string]string
		checked bool
		want    int
	}{
		{name: "an address", host: "127.0.0.1:9777", want: 200},
		{name: "an IPv6 address", host: "[::1]:9777", want: 200},
		{name: "an address alone", host: "::1", want: 200},
		{name: "localhost", host: "LocalHost:9777", want: 200},
		{name: "below localhost", host: "tcpleak.localhost.:9777", want: 200},
		{name: "the host's name", host: "web1.example.net:9777", want: 200},
		{name: "the host's name without its domain", host: "WEB1", want: 200},
		{name: "the name at which it listens", host: "agent.test:9777", want: 200},
		{name: "a name that was rebound", host: "evil.example:9777", want: http.StatusMisdirectedRequest},
		{name: "a name that begins like one of its own", host: "web1.evil.example:9777", want: http.StatusMisdirectedRequest},
		{name: "a name that ends like localhost", host: "evillocalhost:9777", want: http.StatusMisdirectedRequest},
		{name: "no name", host: "", want: http.StatusMisdirectedRequest},
		{name: "metrics by another name, from afar", host: "web1.internal:9777", path: "/metrics", at: outside, want: 200},
		{name: "a probe by another name, from afar", host: "web1.internal:9777", path: "/readyz", at: outside, want: 200},
		{name: "metrics by another name, on loopback", host: "evil.example:9777", path: "/metrics", at: loopback, want: http.StatusMisdirectedRequest},
		{name: "the page by another name, from afar", host: "web1.internal:9777", at: outside, want: http.StatusMisdirectedRequest},
		{name: "the page by another name, where callers are checked", host: "web1.internal:9777", checked: true, want: 200},
		{name: "a page of its own", host: "localhost", headers: map[string]string{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, want: 200},
		{name: "typed into a browser", host: "localhost", headers: map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, want: 200},
		{name: "a link on another page", host: "localhost", want: 200,
			headers: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}},
		{name: "a frame in another page", host: "localhost", want: http.StatusForbidden,
			headers: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}},
		{name: "a stream for another page", host: "localhost", path: "/events", want: http.StatusForbidden,
			headers: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}},
		{name: "a page of another port of this host", host: "localhost", checked: true, want: http.StatusForbidden,
			headers: map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.path
			if path == "" {
				path = "/"
			}
			r := httptest.NewRequest("GET", path, nil)
			r.Host = tt.host
			if tt.at != nil {
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, tt.at))
			}
			for name, value := range tt.headers {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			guard(reached, tt.checked, own).ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			for name, want := range map[string]string{"Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": ""} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q", name, got)
				}
			}
		})
	}
}
