"""Kubeflow component of the pre-flight check; never cache it."""

from __future__ import annotations

from arkloom.component import Declaration
from arkloom.telemetry.kubeflow import CHAIN

COMPONENT = Declaration(
    stage="preflight",
    environment="launcher",
    about="Checks store, credentials, models and problems, and estimates the cost, before a GPU is spent.",
    made=None,
    parameters=(CHAIN,),
)
preflight = COMPONENT.component()
