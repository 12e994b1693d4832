"""Kubeflow component of the stage ``prm``."""

from __future__ import annotations

from kfp import dsl

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="prm",
    environment="train",
    about="Trains a process reward model on labelled steps, and judges it.",
    ports=("steps", "own?", "validation?", "problems?", "start?"),
    made=dsl.Model,
    classification=True,
)
prm = COMPONENT.component()
