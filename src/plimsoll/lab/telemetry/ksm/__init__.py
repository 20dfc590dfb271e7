"""The page of kube-state-metrics.

Source: kube-state-metrics v2 internal/store, for names, labels and when there is a series at all.
"""
