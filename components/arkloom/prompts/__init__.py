"""Prompts: what an agent or the student is shown, per profile (kind of model) and layout."""

from arkloom.prompts.prompts import LAYOUTS, Layout, Prompts, profiles
from arkloom.prompts.summary import extractive
from arkloom.prompts.view import Shown, View

__all__ = ["LAYOUTS", "Layout", "Prompts", "Shown", "View", "extractive", "profiles"]
