//go:build tools

// Package tools names the commands that the lab builds, so that go.mod pins them.
package tools

import (
	_ "github.com/NVIDIA/gpu-operator/cmd/gpu-operator"
)
