"""Kubeflow component of the pre-flight check; never cache it."""

from __future__ import annotations

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="preflight",
    environment="launcher",
    about="Checks store, credentials, models and problems, and estimates the cost, before a GPU is spent.",
    made=None,
)
preflight = COMPONENT.component()
