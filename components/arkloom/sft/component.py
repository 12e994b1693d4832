"""Kubeflow component of the stage ``sft``."""

from __future__ import annotations

from kfp import dsl

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="sft",
    environment="train",
    about="Trains a student on rows.",
    ports=("rows", "match?", "start?"),
    made=dsl.Model,
)
sft = COMPONENT.component()
