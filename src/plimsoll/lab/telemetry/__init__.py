"""What monitoring would read in a real cluster, for fake nodes and pods: one process, plain text over HTTP.

The pages are those of dcgm-exporter, vLLM and kube-state-metrics, with their names, labels and units. What they
say follows from the objects in the API and the time alone: no value is random.
"""
