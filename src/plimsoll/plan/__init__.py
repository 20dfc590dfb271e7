"""From what is wanted to what is: what a pillar renders, how that differs from a cluster, and how it gets there."""
