"""What a stage that trains settles first: no notices of libraries, and how many cores it uses."""

from __future__ import annotations

import torch
from transformers.utils import logging

from arkloom.cgroups import cores
from arkloom.config import RuntimeConfig


def quieten(runtime: RuntimeConfig) -> None:
    """Silence transformers, and use the configured threads, else every core."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(runtime.threads or cores())
