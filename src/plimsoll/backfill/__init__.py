"""The past, out of a Prometheus: what kube-state-metrics and exporters said, as records a meter would have written."""
