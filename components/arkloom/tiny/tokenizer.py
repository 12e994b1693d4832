"""The tiny society's tokenizer: digits one by one, known words whole, everything else by character.

Text survives a round trip (``decode(encode(text)) == text`` over printable ASCII), because text and
never token ids crosses stages.
"""

from __future__ import annotations

import string

from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

PAD, END, UNKNOWN = "<|pad|>", "<|end|>", "<|unk|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
# Whole words: what the tiny prompts say, and a few more that later tasks may say.
WORDS = (
    "####", "agent", "agents", "think", "again", "answer", "answers", "summary", "critic", "generator",
    "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8",
)  # fmt: skip

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{%- else -%}"
    "<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


def build(context_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer with its chat template, ready to ``save_pretrained``."""
    characters = string.digits + string.ascii_letters + string.punctuation + " \n"
    vocabulary = {token: index for index, token in enumerate((PAD, END, UNKNOWN, *ROLES, *characters))}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN, fuse_unk=False))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([PAD, END, UNKNOWN, *ROLES])
    tokenizer.add_tokens([AddedToken(word, single_word=word.isalnum(), normalized=False) for word in WORDS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
