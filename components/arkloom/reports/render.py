"""From blocks to one self-contained HTML file: inline style and drawings, no script, no outside resource."""

from __future__ import annotations

import re
from functools import cache

import jinja2
from markupsafe import Markup

from arkloom.reports import palette
from arkloom.reports.blocks import Page


def html(page: Page) -> str:
    """The page as one HTML document; every text that is not ``Markup`` is escaped."""
    environment = _environment()
    style = environment.get_template("style.css").render(
        light=Markup(palette.css(palette.LIGHT)),  # noqa: S704 - our own constants
        dark=Markup(palette.css(palette.DARK)),  # noqa: S704
    )
    return environment.get_template("page.jinja").render(page=page, style=Markup(style))  # noqa: S704


def anchor(title: str) -> str:
    """An id for a heading: ``Accuracy and cost`` -> ``accuracy-and-cost``."""
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-") or "section"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("arkloom.reports", "templates"),
        autoescape=True,  # templates end in .jinja, so no guess by the file's name
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["anchor"] = anchor
    return environment
