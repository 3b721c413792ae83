package deliver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Endpoint is where and how to reach a server over HTTP. Proxies are those of the environment: HTTPS_PROXY, NO_PROXY.
type Endpoint struct {
	URL     string            // http or https, without user and password
	Headers map[string]string // sent with each request; their values appear in no error
	// TokenFile names a file with a bearer token, which is read for each request, as tokens are renewed; TokenEnv an
	// environment variable with one. At most one of them.
	TokenFile, TokenEnv string
	TLS                 TLS
}

// TLS is how to trust a server, and how to be trusted. The zero value trusts what the system trusts.
type TLS struct {
	CAFile            string // PEM; instead of the system's authorities
	CertFile, KeyFile string // PEM; a certificate of one's own, both or none; read for each connection
	ServerName        string // instead of the URL's host
	// InsecureSkipVerify trusts anybody.
	InsecureSkipVerify bool
}

const (
	// longestToken bounds what is read of a token's file, in octets.
	longestToken = 64 << 10
	// longestAnswer is what is kept of an answer, in octets.
	longestAnswer = 4 << 10
)

// client speaks to an Endpoint.
type client struct {
	url       *url.URL
	header    http.Header
	token     func() (string, error) // nil if there is none
	transport *http.Transport
}

// open checks e, of the output called name.
func (e Endpoint) open(name string) (*client, error) {
	fail := func(format string, args ...any) (*client, error) {
		return nil, fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...))
	}
	u, err := url.Parse(e.URL)
	switch {
	case e.URL == "":
		return fail("no URL: give one such as https://alerts.example.net/hook")
	case err != nil:
		// What is wrong, without the URL: the path of a webhook may be its secret.
		if parse := (*url.Error)(nil); errors.As(err, &parse) {
			err = parse.Err
		}
		return fail("the URL cannot be read: %s", oneLine(err.Error()))
	case u.Scheme != "http" && u.Scheme != "https":
		return fail("the URL must begin with http:// or https://")
	case u.Hostname() == "":
		return fail("the URL names no host")
	case u.User != nil:
		return fail("the URL holds a user or a password: use a header or a token instead")
	case u.Fragment != "":
		return fail("the URL has a fragment, which servers never see: leave out the part from # on")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fail("port %s: 1 to 65535", oneLine(port))
		}
	}
	c := &client{url: u, header: make(http.Header)}
	for _, key := range slices.Sorted(maps.Keys(e.Headers)) {
		canonical := textproto.CanonicalMIMEHeaderKey(key)
		switch {
		case !httpguts.ValidHeaderFieldName(key):
			return fail("%q is no name for a header", oneLine(key))
		case slices.Contains([]string{"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}, canonical):
			return fail("header %s: it follows from what is sent, and cannot be set", canonical)
		case c.header[canonical] != nil:
			return fail("header %s: given twice", canonical)
		case !httpguts.ValidHeaderFieldValue(e.Headers[key]):
			return fail("header %s: its value holds a line break or another control character", canonical)
		case canonical == "Authorization" && (e.TokenFile != "" || e.TokenEnv != ""):
			return fail("header Authorization: there is a token as well, choose one")
		}
		c.header.Set(canonical, e.Headers[key])
	}
	switch {
	case e.TokenFile != "" && e.TokenEnv != "":
		return fail("a token from a file and one from the environment: choose one")
	case e.TokenFile != "":
		c.token = func() (string, error) { return tokenFromFile(e.TokenFile) }
	case e.TokenEnv != "":
		c.token = func() (string, error) { return checkToken(os.Getenv(e.TokenEnv), "$"+e.TokenEnv) }
	}
	if c.token != nil {
		if _, err := c.token(); err != nil {
			return fail("%w", err)
		}
	}
	c.transport = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        2,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	if u.Scheme == "http" {
		if e.TLS != (TLS{}) {
			return fail("settings for TLS, and a URL that begins with http://: use https://")
		}
		return c, nil
	}
	if c.transport.TLSClientConfig, err = e.TLS.config(); err != nil {
		return fail("%w", err)
	}
	return c, nil
}

func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificate authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("certificate authorities: %s holds no certificate in PEM", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("a certificate and its key go together: give both or none")
	}
	if t.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("certificate %s with key %s: %w", t.CertFile, t.KeyFile, err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return c, nil
}

func tokenFromFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longestToken+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("token: %w", err)
	case len(text) > longestToken:
		return "", fmt.Errorf("token: %s has more than %d octets, and is none", name, longestToken)
	}
	return checkToken(string(text), name)
}

func checkToken(token, from string) (string, error) {
	switch token = strings.TrimSpace(token); {
	case token == "":
		return "", fmt.Errorf("token: %s is empty", from)
	case !httpguts.ValidHeaderFieldValue(token) || strings.ContainsAny(token, " \t"):
		return "", fmt.Errorf("token: %s holds more than one word", from)
	}
	return token, nil
}

// exchange is what came of one request.
type exchange struct {
	err     error // there was no answer
	status  int
	after   time.Duration // that the server asks to be left alone for
	answer  []byte        // its beginning
	secrets []string      // that an answer may repeat

	call  *status.Status // of a call by gRPC, nil if there was none
	reply any            // to it
}

// taken reports whether the server has taken what was sent.
func (x *exchange) taken() bool {
	return x.status >= 200 && x.status < 300 || x.call != nil && x.call.Code() == codes.OK
}

// began reports whether anything was sent, or it is known why not.
func (x *exchange) began() bool { return x.status != 0 || x.call != nil || x.err != nil }

// withoutSecrets is text that a server has answered.
func (x *exchange) withoutSecrets(text string) string {
	for _, secret := range x.secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}

type exchangeKey struct{}

// exchanging returns a context whose request is written down in the exchange.
func exchanging(ctx context.Context) (context.Context, *exchange) {
	x := new(exchange)
	return context.WithValue(ctx, exchangeKey{}, x), x
}

// http returns a client that follows no redirection: what is sent, and who sends it, is for the configured server alone.
func (c *client) http() *http.Client {
	return &http.Client{Transport: c, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// RoundTrip adds the headers and the token to a request, and notes in the context's exchange what comes of it.
func (c *client) RoundTrip(request *http.Request) (*http.Response, error) {
	x, _ := request.Context().Value(exchangeKey{}).(*exchange)
	if x == nil {
		x = new(exchange)
	}
	request = request.Clone(request.Context())
	for key, values := range c.header {
		request.Header[key] = values
		x.secrets = append(x.secrets, values...)
	}
	if c.token != nil {
		token, err := c.token()
		if err != nil {
			if request.Body != nil {
				request.Body.Close()
			}
			x.err = err
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		x.secrets = append(x.secrets, token)
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		x.err = fmt.Errorf("no answer: %w", err)
		return nil, err
	}
	x.status = response.StatusCode
	x.after = retryAfter(response.Header.Get("Retry-After"), time.Now())
	// An answer that breaks off has still been given: its status has arrived.
	x.answer, _ = io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(x.answer), response.Body), response.Body}
	return response, nil
}

// retryAfter reads the header of that name, RFC 9110 10.2.3: seconds or a date. It is 0 if there is none.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 63); err == nil {
		return time.Duration(min(seconds, uint64(longestPause/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), longestPause)
	}
	return 0
}

// verdict says what an exchange means for what was sent; again tells which statuses of HTTP are no refusal. It is nil for success.
func (x *exchange) verdict(again func(status int) bool) error {
	switch {
	case x.call != nil:
		return x.callVerdict()
	case x.status == 0:
		return cmp.Or(x.err, errors.New("the request was not sent"))
	case x.taken():
		return nil
	}
	text := strconv.Itoa(x.status)
	if known := http.StatusText(x.status); known != "" {
		text += " " + known
	}
	if answer := strings.TrimSpace(string(x.answer)); answer != "" {
		text += ": " + x.withoutSecrets(answer)
	}
	err := errors.New("the answer is " + oneLine(text))
	switch {
	case x.status >= 300 && x.status < 400:
		return fmt.Errorf("%w; redirections are not followed, configure where it leads", err)
	case again(x.status):
		return &Later{Err: err, After: x.after}
	}
	return &Permanent{Err: err, Divide: slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, x.status)}
}
