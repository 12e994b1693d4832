"""Kubeflow component of the stage ``gate``."""

from __future__ import annotations

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="gate",
    environment="launcher",
    about="Decides whether the best arm is promoted; it ends well whatever it decides.",
    ports=("report", "champion?"),
)
gate = COMPONENT.component()
