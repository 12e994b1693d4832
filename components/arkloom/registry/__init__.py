"""Promoted models under a name: numbered versions, each written once and never changed, on the store."""

from arkloom.registry.versions import Registry, Version

__all__ = ["Registry", "Version"]
