"""Presets: ready configurations, one YAML file each."""
