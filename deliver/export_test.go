package deliver

import (
	"context"
	"net"
)

// DialBy has the webhook make its connections by dial.
func (w *Webhook) DialBy(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	w.client.transport.DialContext = dial
}
