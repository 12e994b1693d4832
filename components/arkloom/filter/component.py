"""Kubeflow component of the stage ``filter``."""

from __future__ import annotations

from kfp import dsl

from arkloom.component import Declaration

COMPONENT = Declaration(
    stage="filter",
    environment="launcher",
    about="Keeps the traces of debates that are worth learning from.",
    ports=("debates", "problems"),
    made=dsl.Dataset,
)
filter = COMPONENT.component()
