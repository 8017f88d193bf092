"""Measurements of the package, run from a checkout; not installed."""
