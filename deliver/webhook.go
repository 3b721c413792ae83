package deliver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// EnvelopeVersion is the version of what a Webhook posts. Fields may be added within a version; none changes its meaning.
const EnvelopeVersion = 1

// WebhookConfig says where a Webhook posts.
type WebhookConfig struct {
	Endpoint
	Name string // "webhook" and the URL's host if it is ""
	Host string // whose findings they are
}

// Webhook posts events to a server as one JSON object: {"version":1,"host":"…","events":[…]}.
type Webhook struct {
	name   string
	opener []byte // of a body, up to the events
	client *client
	http   *http.Client
}

// NewWebhook returns an output that posts as config says, or an error that says what is wrong with it.
func NewWebhook(config WebhookConfig) (*Webhook, error) {
	c, err := config.open(cmp.Or(config.Name, "webhook"))
	if err != nil {
		return nil, err
	}
	host, err := json.Marshal(config.Host)
	if err != nil {
		return nil, err
	}
	return &Webhook{
		name: cmp.Or(config.Name, "webhook "+c.url.Host), client: c, http: c.http(),
		opener: slices.Concat([]byte(`{"version":`+strconv.Itoa(EnvelopeVersion)+`,"host":`), host, []byte(`,"events":[`)),
	}, nil
}

// Name returns the configured name, or what it is and the server's.
func (w *Webhook) Name() string { return w.name }

// Send posts the batch. Any status from 200 to 299 is success; 408, 425, 429 and 5xx are to be tried again, when
// Retry-After says if they have it; so are redirections, which are not followed. Any other status is a refusal.
func (w *Webhook) Send(ctx context.Context, batch []*Item) error {
	body := slices.Clone(w.opener)
	for i, item := range batch {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, item.JSON...)
	}
	body = append(body, "]}\n"...)

	ctx, x := exchanging(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.client.url.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "tcpleak")
	if response, err := w.http.Do(request); err == nil {
		// The rest of a short answer leaves the connection fit for the next request.
		io.CopyN(io.Discard, response.Body, 2*longestAnswer)
		response.Body.Close()
	}
	return x.verdict(func(status int) bool {
		return status >= 500 || slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, status)
	})
}

// Close gives up connections that stand idle.
func (w *Webhook) Close() error {
	w.client.transport.CloseIdleConnections()
	return nil
}
