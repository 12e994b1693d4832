"""Kubeflow component of the stage ``debate``."""

from __future__ import annotations

from kfp import dsl

from arkloom.component import Declaration
from arkloom.telemetry.kubeflow import SHARE

COMPONENT = Declaration(
    stage="debate",
    environment="serve",
    about="Holds the debates of one split, or of a share of it, or merges the shares.",
    ports=("problems", "budget?", "share-*"),
    made=dsl.Dataset,
    parameters=(SHARE,),
)
debate = COMPONENT.component()
