// Package kubernetes holds the manifests in deploy/kubernetes against the types of the Kubernetes API. It has only tests, in a
// module of its own: what they need is no concern of tcpleak's.
package kubernetes
