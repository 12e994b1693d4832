"""What an agent is shown before it speaks, and the request that asks it to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from arkloom.canonical import derive_seed, digest
from arkloom.engines.protocol import Completion, Engine, Request, most_tokens
from arkloom.errors import BadInputError
from arkloom.prompts.view import Shown, View
from arkloom.protocol.log import TurnTiming
from arkloom.protocol.society import Society
from arkloom.records import Agent, Debate, DebateError, Final, Message, Problem, Round, Stop, Turn, TurnRef

LEAST_ROOM = 64  # tokens that an answer needs at least (or max_tokens, where that is less)


@dataclass
class Talk:
    """A debate under way: only complete rounds are in it, so no agent can read its own round."""

    problem: Problem
    id: str
    number: int = 0  # place in the order in which debates began
    turns: list[tuple[Turn, ...]] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    timings: list[TurnTiming] = field(default_factory=list)
    tokens: int = 0
    longest: int = 0  # completion tokens of its longest turn
    stop: Stop | None = None
    error: DebateError | None = None

    @property
    def over(self) -> bool:
        """Whether nobody speaks again."""
        return self.stop is not None or self.error is not None

    def record(self, society: Society, agents: Sequence[Agent], final: Final | None) -> Debate:
        """The debate as it is kept."""
        return Debate(
            id=self.id,
            dataset=self.problem.dataset,
            split=self.problem.split,
            question=self.problem.question,
            options=self.problem.options,
            gold=self.problem.gold,
            answer_type=self.problem.answer_type,
            seed=society.seed,
            protocol=society.protocol,
            config_digest=society.config_digest,
            models=society.models,
            agents=tuple(agents),
            turns=tuple(turn for turns in self.turns for turn in turns),
            rounds=tuple(self.rounds),
            stop=self.stop,
            final=final,
            error=self.error,
        )


def turn_request(society: Society, engine: Engine, talk: Talk, agent: Agent, others: Talk) -> Request:
    """The next request to ``agent``.

    Args:
        society: The rules.
        engine: Serves the agent; says what fits.
        talk: The debate, all rounds before this one.
        agent: Who speaks next.
        others: The debate whose answers are shown as the peers': ``talk`` itself unless shuffled.

    Raises:
        BadInputError: Even without peers the prompt leaves no room for an answer.
    """
    sampling = society.sampling
    least = min(sampling.max_tokens, LEAST_ROOM)
    cap = society.peer_token_cap
    while True:
        messages = _messages(society, engine, talk, agent, others, cap)
        if _fits(messages, engine, least):
            break
        if cap == 0 or not talk.turns or society.peers == "none":
            raise BadInputError(
                "the prompt leaves no room for an answer",
                where=f"problem {talk.id[:12]} round {len(talk.turns)}: {engine.count(messages)} tokens, "
                f"context {engine.context_length}",
                mend="Choose a model with a longer context, or fewer agents or rounds",
            )
        cap //= 2
    seed = derive_seed(society.seed, talk.id, agent.id, len(talk.turns))
    return Request(messages=messages, sampling=sampling, seed=seed, adapter=None)


def finished_turn(
    society: Society, talk: Talk, agent: Agent, request: Request, completion: Completion
) -> Turn:
    """The turn as recorded, not yet graded."""
    return Turn(
        round=len(talk.turns),
        order=agent.id,
        agent=agent.id,
        seed=request.seed,
        prompt_digest=digest([[m.role, m.content] for m in request.messages]),
        source_turns=_sources(society, talk, agent),
        text=completion.text,
        thinking=completion.thinking,
        finish_reason=completion.finish_reason,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
    )


def _messages(
    society: Society, engine: Engine, talk: Talk, agent: Agent, others: Talk, cap: int
) -> tuple[Message, ...]:
    if society.protocol == "vote" and agent.persona is None:
        return society.prompts.student(talk.problem)
    # In `shared` its own answer stands among the others' in one block, so it is cut as theirs are.
    shared = society.prompts.layout == "shared"
    spoken = [turns[agent.id] for turns in talk.turns]
    own = tuple(_cut(engine, turn, cap) if shared else turn.text for turn in spoken)
    peers = tuple(
        _shown(engine, others.turns[min(k, len(others.turns) - 1)], agent, cap)
        if society.peers != "none"
        else ()
        for k in range(len(talk.turns))
    )
    view = View(problem=talk.problem, agent=agent.id, persona=agent.persona, own=own, peers=peers)
    return society.prompts.messages(view)


def _shown(engine: Engine, turns: Sequence[Turn], agent: Agent, cap: int) -> tuple[Shown, ...]:
    return tuple(Shown(turn.agent, _cut(engine, turn, cap)) for turn in turns if turn.agent != agent.id)


def _cut(engine: Engine, turn: Turn, cap: int) -> str:
    return turn.text if turn.completion_tokens <= cap else engine.truncate(turn.text, cap)


def _fits(messages: tuple[Message, ...], engine: Engine, least: int) -> bool:
    room = engine.context_length - least
    return most_tokens(messages) <= room or engine.count(messages) <= room  # most need not be counted


def _sources(society: Society, talk: Talk, agent: Agent) -> tuple[TurnRef, ...]:
    """The turns of this debate that the prompt shows (answers to another problem are not among them)."""
    first = len(talk.turns) - 1 if society.prompts.layout == "shared" else 0
    return tuple(
        TurnRef(round=turn.round, agent=turn.agent)
        for turns in talk.turns[max(first, 0) :]
        for turn in turns
        if society.peers == "shown" or turn.agent == agent.id
    )
