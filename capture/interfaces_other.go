//go:build !linux

package capture

// linkTypesOf knows none: they are for the driver to say, once it captures.
func linkTypesOf() map[string]string { return nil }
