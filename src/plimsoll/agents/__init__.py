"""What runs in the cluster: the meter."""
