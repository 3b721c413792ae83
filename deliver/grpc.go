package deliver

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// longestRedial bounds how long a collector that is back goes unnoticed: gRPC's own bound is two minutes.
	longestRedial = 10 * time.Second
	// pingEvery is as often as servers allow (gRPC's proposal A8: five minutes). What counts is what comes with it, that a
	// connection whose other end has vanished is given up after pingTimeout, and not after the kernel's quarter of an hour.
	pingEvery   = 10 * time.Minute
	pingTimeout = 20 * time.Second
)

// target is where gRPC connects to.
func (c *client) target() string {
	port := map[string]string{"http": "80", "https": "443"}[c.url.Scheme]
	return net.JoinHostPort(c.url.Hostname(), cmp.Or(c.url.Port(), port))
}

func (c *client) credentials() credentials.TransportCredentials {
	if c.transport.TLSClientConfig == nil {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(c.transport.TLSClientConfig)
}

func (c *client) dialOptions() []grpc.DialOption {
	redial := grpcbackoff.DefaultConfig
	redial.MaxDelay = longestRedial
	return []grpc.DialOption{
		grpc.WithUnaryInterceptor(c.call),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: longestRedial}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
	}
}

// call adds the headers and the token to a call, and notes in the context's exchange what comes of it: what RoundTrip is to
// HTTP.
func (c *client) call(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	if x == nil {
		x = new(exchange)
	}
	sent, _ := metadata.FromOutgoingContext(ctx) // a copy
	if sent == nil {
		sent = make(metadata.MD)
	}
	for key, values := range c.header {
		sent.Set(key, values...)
		x.secrets = append(x.secrets, values...)
	}
	if c.token != nil {
		token, err := c.token()
		if err != nil {
			x.err = err
			return err
		}
		sent.Set("Authorization", "Bearer "+token)
		x.secrets = append(x.secrets, token)
	}
	err := invoke(metadata.NewOutgoingContext(ctx, sent), method, request, reply, conn, options...)
	x.reply = reply
	if x.call = status.Convert(err); x.call == nil { // as it is of success
		x.call = status.New(codes.OK, "")
	}
	return err
}

// callVerdict is verdict for gRPC. By the protocol, the codes below are to be tried again, and any other is a refusal.
func (x *exchange) callVerdict() error {
	code := x.call.Code()
	if code == codes.OK {
		return nil
	}
	var after time.Duration
	asked := false
	for _, detail := range x.call.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			after, asked = min(max(info.RetryDelay.AsDuration(), 0), longestPause), true
		}
	}
	text := code.String()
	if message := strings.TrimSpace(x.call.Message()); message != "" {
		text += ": " + message
	}
	// Whether the collector or gRPC itself says so cannot be told apart.
	err := errors.New("the call ends as " + oneLine(x.withoutSecrets(text)))
	switch {
	case slices.Contains([]codes.Code{codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss}, code),
		code == codes.ResourceExhausted && asked:
		return &Later{Err: err, After: after}
	}
	// Without a time to come back, ResourceExhausted is about the size.
	return &Permanent{Err: err, Divide: code == codes.InvalidArgument || code == codes.ResourceExhausted}
}
