"""What is asked of MIG and of shared GPUs."""
