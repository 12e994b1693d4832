"""Kubeflow component of the stage ``label``."""

from __future__ import annotations

from kfp import dsl

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="label",
    environment="serve",
    about="Labels every step of a trace as right, wrong or unknown.",
    ports=("rows?", "problems?"),
    made=dsl.Dataset,
)
label = COMPONENT.component()
