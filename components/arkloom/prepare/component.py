"""Kubeflow component of the stage ``prepare``."""

from __future__ import annotations

from kfp import dsl

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="prepare",
    environment="launcher",
    about="Draws the problems, deals them into train, validation and test, and leaves overlaps out of train.",
    made=dsl.Dataset,
)
prepare = COMPONENT.component()
