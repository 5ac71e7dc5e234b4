"""Composition root of the UI process."""
