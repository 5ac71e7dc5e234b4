"""Composition root of the analysis process."""
