"""Kubeflow component of the stage ``register``."""

from __future__ import annotations

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="register",
    environment="launcher",
    about="Writes the model card of the best arm, and registers a promoted model as a new version.",
    ports=("report", "decision"),
)
register = COMPONENT.component()
