"""Plimsoll: a GPU cluster on Kubernetes, from a working demo to a reliable, affordable platform."""

__version__ = "0.1.0"
