"""What the cluster is: objects as the API server sent them, frozen in a Snapshot."""
