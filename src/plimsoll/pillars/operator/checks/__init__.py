"""Checks of pillar operator."""
