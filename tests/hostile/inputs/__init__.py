"""Hypothesis strategies for what others send."""
