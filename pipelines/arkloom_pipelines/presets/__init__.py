"""Presets of pipelines."""
