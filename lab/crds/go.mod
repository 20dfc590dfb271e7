module plimsoll.dev/lab/crds

go 1.26.6

require (
	github.com/argoproj/argo-cd/v3 v3.5.7
	github.com/aws/karpenter-provider-aws v1.14.1
	github.com/fluxcd/helm-controller v1.6.4
	github.com/fluxcd/kustomize-controller v1.9.6
	github.com/fluxcd/source-controller v1.9.6
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/jobset v0.12.0
	sigs.k8s.io/lws v0.9.0
)
