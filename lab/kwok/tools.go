//go:build tools

// Package tools names the commands that the lab builds, so that go.mod pins them.
package tools

import (
	_ "sigs.k8s.io/kwok/cmd/kwok"
)
