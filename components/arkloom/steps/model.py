"""The process reward model (PRM): a token-classification model with one label, read at step ends.

A linear head maps the hidden state of a step's last token to R; s = sigmoid(R) is the step's score
(AgentArk, arXiv 2602.03955). Attention is causal, so one forward pass over a whole completion gives every
step the score that a pass over its prefix alone would give.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

from arkloom.config import ModelConfig
from arkloom.errors import ArkloomError, BadInputError
from arkloom.records import StepRow
from arkloom.training import checkpoints
from arkloom.training.student import open_student

BATCH_TOKENS = 8192  # tokens of one forward pass, padding included: bounds its memory
_HEAD_SEED = 0
_SHARD = "512MB"
_LABEL = "right_so_far"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt and its completion as the model reads them.

    Attributes:
        ids: Token ids, [T].
        ends: Index in ``ids`` of each step's last token, [S].
    """

    ids: tuple[int, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class Prm:
    """A PRM and its tokenizer.

    Attributes:
        model: ``AutoModelForTokenClassification`` with one label, weights in float32.
        tokenizer: Fast tokenizer with a chat template.
        stored: The dtype of the checkpoint it came from.
        autocast: Forward passes in bfloat16; weights stay as they are.
    """

    model: Any
    tokenizer: Any
    stored: torch.dtype = torch.float32
    autocast: bool = False

    @classmethod
    def new(cls, folder: Path, adapter: str | None = None) -> Prm:
        """A PRM with a fresh head on the weights of a causal language model; the head is seeded.

        Args:
            folder: The language model.
            adapter: Folder of an adapter that is merged into its weights first.

        Raises:
            BadInputError: It does not load, its adapter does not fit, or its architecture has no token
                classification.
        """
        prm = cls._open(folder)
        if adapter is not None:
            merged = open_student(ModelConfig(name=str(folder), adapter=adapter)).model
            prm.model.base_model.load_state_dict(merged.base_model.state_dict())
        fresh = torch.Generator().manual_seed(_HEAD_SEED)
        top = head(prm.model)
        with torch.no_grad():
            nn.init.normal_(top.weight, std=top.in_features**-0.5, generator=fresh)
            if top.bias is not None:
                top.bias.zero_()
        return prm

    @classmethod
    def load(cls, folder: Path) -> Prm:
        """Open a saved PRM; weights are held in float32, ready to score.

        Raises:
            BadInputError: It is no PRM, does not load, or has no fast tokenizer with a chat template.
        """
        prm = cls._open(folder, headed=True)
        head(prm.model)
        return prm

    @classmethod
    def _open(cls, folder: Path, headed: bool = False) -> Prm:
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            stored = config.dtype or torch.float32
            if headed and not any("TokenClassification" in name for name in config.architectures or ()):
                raise ValueError("its architecture has no head that scores tokens")
            config.id2label, config.label2id = {0: _LABEL}, {_LABEL: 0}
            config.classifier_dropout = 0.0  # a score must not depend on chance
            config.token_classification_bias = True  # calibration needs it
            model = AutoModelForTokenClassification.from_pretrained(
                folder, config=config, dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, KeyError) as error:
            text = " ".join(str(error).split())[:200]
            raise BadInputError(f"no PRM can be made of this model ({text})", where=str(folder)) from error
        if not tokenizer.is_fast or not tokenizer.chat_template:
            raise BadInputError(
                "the tokenizer is not a fast one with a chat template",
                where=str(folder),
                mend="A PRM needs tokenizer.json with a chat_template",
            )
        return cls(model.eval(), tokenizer, stored)

    def save(self, folder: Path) -> None:
        """Write a checkpoint that ``AutoModelForTokenClassification`` loads, in float32.

        The last phase moves weights by less than bfloat16 can tell apart, and a saved PRM must give the
        scores it was judged by.

        Raises:
            ArkloomError: A weight is not finite.
        """
        for name, weight in self.model.named_parameters():
            if not torch.isfinite(weight).all():
                raise ArkloomError(
                    f"weight {name} is not finite after training", mend="Lower the learning rates of prm"
                )
        with checkpoints.writing(folder):
            self.model.save_pretrained(folder, max_shard_size=_SHARD)
            self.tokenizer.save_pretrained(folder)

    def encode(self, row: StepRow) -> Encoded:
        """Ids and step ends of a row, through the PRM's own chat template; nothing is cut.

        The assistant's message follows the generation prompt as a model would write it, and the whole is
        tokenised once: a step ends at the token that holds its last character.

        Raises:
            BadInputError: The last message is not the assistant's, or a step end lies outside of it.
        """
        if not row.messages or row.messages[-1].role != "assistant":
            raise BadInputError("messages: the last message is not the assistant's")
        said = row.messages[-1].content
        if list(row.step_ends) != sorted(set(row.step_ends)) or not all(
            0 < end <= len(said) for end in row.step_ends
        ):
            raise BadInputError(
                "step_ends: they must rise and lie inside the last message",
                mend=f"The message has {len(said)} characters",
            )
        chat = [message.model_dump() for message in row.messages[:-1]]
        asked = str(self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
        coded = self.tokenizer(asked + said, add_special_tokens=False, return_offsets_mapping=True)
        starts = _starts(coded["offset_mapping"])
        ends = tuple(bisect_left(starts, len(asked) + end) - 1 for end in row.step_ends)
        return Encoded(tuple(coded["input_ids"]), ends)

    def scores_of_ids(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        ends: Sequence[Sequence[int]],
        batch_tokens: int = BATCH_TOKENS,
    ) -> list[list[float]]:
        """Scores of completions in a policy's own ids; the policy shares the PRM's vocabulary.

        Args:
            prompts: [N] ids of the chat up to the completion.
            completions: [N] ids of each completion.
            ends: [N] index in the completion's ids of each step's last token, [S_i]; may be empty.
            batch_tokens: Most tokens of a forward pass.

        Returns:
            s = sigmoid(R) of every step, [N][S_i].

        Raises:
            BadInputError: An end lies outside of its completion.
        """
        rows = []
        for prompt, completion, at in zip(prompts, completions, ends, strict=True):
            if not all(0 <= end < len(completion) for end in at):
                raise BadInputError(f"a step ends outside of its completion of {len(completion)} tokens")
            rows.append(Encoded((*prompt, *completion), tuple(len(prompt) + end for end in at)))
        return self.scores(rows, batch_tokens)

    def scores_of_rows(self, rows: Sequence[StepRow], batch_tokens: int = BATCH_TOKENS) -> list[list[float]]:
        """Scores of rows whose text came from any tokenizer: s of every step, [N][S_i]."""
        return self.scores([self.encode(row) for row in rows], batch_tokens)

    def scores(self, rows: Sequence[Encoded], batch_tokens: int = BATCH_TOKENS) -> list[list[float]]:
        """S = sigmoid(R) of every step, [N][S_i]: rows of like length share a forward pass."""
        found: list[list[float]] = [[] for _ in rows]
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            for group in _groups(rows, batch_tokens):
                chosen = [rows[index] for index in group]
                flat = torch.sigmoid(self.logits(chosen).double()).tolist()
                for index in group:
                    count = len(rows[index].ends)
                    found[index], flat = flat[:count], flat[count:]
        self.model.train(was_training)
        return found

    def logits(self, rows: Sequence[Encoded]) -> torch.Tensor:
        """R of every step of the rows, in order, with gradient: [sum of S_i], at least float32.

        One forward pass; every row has a step.
        """
        device = self.model.device
        ids = [torch.tensor(row.ids[: max(row.ends) + 1]) for row in rows]  # what follows is never looked at
        stack = nn.utils.rnn.pad_sequence
        fill = self.tokenizer.pad_token_id or 0
        padded = stack(ids, batch_first=True, padding_value=fill).to(device)
        mask = stack([torch.ones_like(row) for row in ids], batch_first=True).to(device)
        with self._precision():
            out = self.model(input_ids=padded, attention_mask=mask, use_cache=False).logits
        which = [index for index, row in enumerate(rows) for _ in row.ends]
        where = [end for row in rows for end in row.ends]
        picked: torch.Tensor = out[torch.tensor(which, device=device), torch.tensor(where, device=device), 0]
        return picked.float() if picked.dtype in (torch.bfloat16, torch.float16) else picked

    def shares_vocabulary(self, tokenizer: Any) -> bool:
        """Whether ids of that tokenizer mean the same here, chat template included."""
        own = self.tokenizer
        same = own.chat_template == tokenizer.chat_template
        return bool(same and own.get_vocab() == tokenizer.get_vocab())

    def _precision(self) -> AbstractContextManager[Any]:
        if not self.autocast:
            return nullcontext()
        context: AbstractContextManager[Any] = torch.autocast(self.model.device.type, torch.bfloat16)
        return context


def head(model: Any) -> nn.Linear:
    """The linear layer that gives R: the one outside of the language model."""
    trunk = set(model.base_model.modules())
    tops = [part for part in model.modules() if isinstance(part, nn.Linear) and part not in trunk]
    if len(tops) != 1 or tops[0].out_features != 1:
        raise BadInputError(f"{type(model).__name__} has no single linear head of one label")
    return tops[0]


def last_block(model: Any) -> nn.Module:
    """The last of the transformer's blocks."""
    depth = model.config.get_text_config().num_hidden_layers
    for part in model.base_model.modules():
        if isinstance(part, nn.ModuleList) and len(part) == depth:
            block: nn.Module = part[-1]
            return block
    raise BadInputError(f"{type(model).__name__} has no list of {depth} blocks to find the last one in")


def _starts(offsets: Sequence[tuple[int, int]]) -> list[int]:
    """First character of each token; a token of no characters begins where the last one did."""
    starts: list[int] = []
    for start, stop in offsets:
        starts.append(start if start < stop else starts[-1] if starts else 0)
    return starts


def _groups(rows: Sequence[Encoded], batch_tokens: int) -> Iterator[list[int]]:
    """Rows that have steps, shortest first, cut where a padded pass would exceed ``batch_tokens``."""
    group: list[int] = []
    for index in sorted((i for i, row in enumerate(rows) if row.ends), key=lambda i: (len(rows[i]), i)):
        if group and len(rows[index]) * (len(group) + 1) > batch_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
