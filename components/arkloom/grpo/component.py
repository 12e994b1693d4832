"""Kubeflow component of the stage ``grpo``."""

from __future__ import annotations

from kfp import dsl

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="grpo",
    environment="train",
    about="Trains a student by group-relative policy optimisation with step rewards.",
    ports=("prompts", "problems", "prm?", "start?"),
    made=dsl.Model,
)
grpo = COMPONENT.component()
