"""``arkloom run --runner jobs``: the same run, its stages as Jobs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from arkloom.chains.run import RunnerOf
from arkloom.cluster.api import connect
from arkloom.cluster.jobs import Policy
from arkloom.cluster.runner import JobsRunner
from arkloom.cluster.work import Waiting


@dataclass(frozen=True)
class Place:
    """Where Jobs run, and what holds for each.

    Attributes:
        namespace: None: the pod's own, else that of the context, else ``arkloom``.
        context: Of the kubeconfig; None: its current one, or the cluster that this process runs in.
        retries: Pods of a Job that may fail.
        waiting_minutes: How long a Job may wait for a node with room.
    """

    namespace: str | None = None
    context: str | None = None
    retries: int = Policy.retries
    waiting_minutes: float = Waiting.place / 60


def jobs(place: Place) -> RunnerOf:
    """A runner for ``arkloom.run`` whose stages are Jobs.

    Raises:
        BadInputError: There is no cluster to talk to.
    """
    return partial(
        JobsRunner,
        cluster=connect(place.namespace, place.context),
        policy=Policy(retries=place.retries),
        waiting=Waiting(place=60 * place.waiting_minutes),
    )
