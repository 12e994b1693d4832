"""Versions of a model: ``<root>/registry/<model>/versions/<number>.json``, counted from 1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arkloom.errors import ArkloomError, BadInputError
from arkloom.store import Store

FOLDER = "registry"
_NAME = re.compile(r"(?!\.)[\w.-]{1,255}", re.ASCII)  # nothing that leaves the folder


class Version(BaseModel):
    """One promoted model (``version.v1``).

    Attributes:
        model: The name under which versions are counted.
        number: From 1, without gaps.
        key: Of the student's artifact: the same model again is the same version.
        uri: Where it was published.
        arm: What evaluation called it.
        base: The model that training began from.
        accuracy: On the test problems, a share.
        ci95: Its 95 % interval.
        token_ratio: The student's tokens over those of the full debate.
        reason: Why the gate promoted it.
        lineage: Keys of the evaluation, the decision, and of whatever else it rests on, by what they are.
        config_digest: Of the configuration, without what never enters a key.
        registered: When, seconds since 1970.
        card: The model card (Markdown).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    schema_: Literal["version.v1"] = Field(default="version.v1", alias="schema")
    model: str
    number: int = Field(default=1, ge=1)
    key: str
    uri: str
    arm: str
    base: str
    accuracy: float
    ci95: tuple[float, float]
    token_ratio: float | None
    reason: str
    lineage: dict[str, str]
    config_digest: str
    registered: float
    card: str


class Registry:
    """The versions that a store holds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, draft: Version) -> Version:
        """Give a model the next number, or find the one that it has.

        Two writers never share a number: a version is written under a name that must not exist yet.

        Args:
            draft: Its ``number`` is of no account.
        """
        number = 1
        while (known := self.version(draft.model, number) or self._written(draft, number)).key != draft.key:
            number += 1
        return known

    def _written(self, draft: Version, number: int) -> Version:
        """The version of a number that was free: the draft, unless someone else was first."""
        new = draft.model_copy(update={"number": number})
        content = new.model_dump_json(by_alias=True, indent=1).encode()
        if self._store.write_once(content, *_path(draft.model, number)):
            return new
        known = self.version(draft.model, number)  # a repeated request may also meet what it wrote itself
        if known is None:
            raise ArkloomError("the version is there but cannot be read", where=f"{draft.model} {number}")
        return known

    def version(self, model: str, number: int) -> Version | None:
        """One version, or None.

        Raises:
            BadInputError: It cannot be read, or the name is none.
        """
        path = _path(model, number)
        content = self._store.document(*path)
        if content is None:
            return None
        try:
            return Version.model_validate_json(content)
        except ValidationError as error:
            where = "/".join((self._store.root, *path))
            raise BadInputError(f"not a version ({error.errors()[0]['msg']})", where=where) from error

    def versions(self, model: str) -> Iterator[Version]:
        """Every version of a model, oldest first; needs no listing."""
        for number in count(1):
            found = self.version(model, number)
            if found is None:
                return
            yield found

    def models(self) -> list[str]:
        """Names of all models that have a version.

        Raises:
            BadInputError: The policy allows no listing.
        """
        return self._store.documents(FOLDER)


def _path(model: str, number: int) -> tuple[str, ...]:
    if not _NAME.fullmatch(model):
        raise BadInputError(f"{model[:60]!r} is no name of a model", mend="Use letters, digits, . _ and -")
    return FOLDER, model, "versions", f"{number}.json"
