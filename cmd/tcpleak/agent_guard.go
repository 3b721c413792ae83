package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps pages of others, in a browser on this host or near it, from reading what is served, and from wearing it out.
//
// A browser lets a page ask any server, and read the answers of those that bear the page's own name: a name whose address
// changes to this host's, once the page is there (DNS rebinding), would make them this host's. So the name that a request is
// for has to be one that is known here. Where callers prove who they are, or the server does (checked), a browser tells them
// apart itself. Prometheus and probes are no browsers and may call the host what they like.
func guard(h http.Handler, checked bool, own map[string]bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			w.Header().Set(name, value)
		}
		scraped := r.URL.Path == "/metrics" || r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
		switch name := hostOf(r.Host); {
		case !checked && (!scraped || arrivedOnLoopback(r)) && !known(name, own):
			http.Error(w, fmt.Sprintf("this is not known to be %s: use an IP address, localhost, or this host's own name; or serve with --web-config, for any name",
				oneLine(name)), http.StatusMisdirectedRequest)
			return
		case foreign(r):
			http.Error(w, "this is not for pages of other servers", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// foreign reports whether a page of another server asks, and not somebody who has followed a link there.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
	}
	return false
}

// arrivedOnLoopback reports whether a request came to an address that only this host reaches.
func arrivedOnLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// hostOf is the name in a Host header, without its port, in lower case.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// known reports whether name is an address, or one of this host's own names.
func known(name string, own map[string]bool) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || own[name]
}

// ownNames are the names of this host, whole and without its domain, and that at which the agent listens.
func ownNames(listen, host string) map[string]bool {
	names := make(map[string]bool)
	short, _, _ := strings.Cut(host, ".")
	for _, name := range []string{hostOf(listen), hostOf(host), hostOf(short)} {
		if name != "" {
			names[name] = true
		}
	}
	return names
}
