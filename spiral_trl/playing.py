"""Playing planned games: who sits at the tables, and which process plays them."""

# accelerate is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from accelerate import Accelerator  # pyright: ignore[reportMissingTypeStubs]
from accelerate.utils import broadcast_object_list, gather_object  # pyright: ignore[reportMissingTypeStubs]

from spiral_envs.agents import Agent, EndpointError, make_agent
from spiral_envs.agents.base import SeededAgent
from spiral_envs.chance import match_seed
from spiral_envs.episode import Episode
from spiral_envs.sources import find_source
from spiral_trl.collector import Table, in_order, play_pool, play_waves, set_table
from spiral_trl.config import SelfPlayConfig
from spiral_trl.generation import TrainerGeneration, whole_models
from spiral_trl.league import League
from spiral_trl.sampling import GenerationError, ModelAgent, Sampler
from spiral_trl.schedule import LEAGUE, SELF, GamePlan


class SharedPlay:
    """Plays games of the model that learns, shared out over the processes.

    Attributes:
        agent: The model that learns.
    """

    def __init__(
        self,
        args: SelfPlayConfig,
        accelerator: Accelerator,
        generation: TrainerGeneration,
        league: League | None,
        make_model_agent: Callable[[Sampler, str], ModelAgent],
    ) -> None:
        """Sets what plays.

        Args:
            args: The settings of the run.
            accelerator: Knows the processes.
            generation: Where the model's replies come from.
            league: Its snapshots, if it plays against them.
            make_model_agent: Returns an agent that plays as the model does, with a sampler and a name.
        """
        self.agent = make_model_agent(generation.sampler, SELF)
        self._args = args
        self._accelerator = accelerator
        self._generation = generation
        self._league = league
        self._make_model_agent = make_model_agent
        self._opponents: dict[str, Agent] = {}
        self._snapshot: tuple[int, Agent] | None = None

    def play(self, plans: Sequence[GamePlan]) -> list[Episode]:
        """Plays games with the current weights.

        Args:
            plans: The same on every process, with rising numbers.

        Returns:
            All games on every process, in the order of `plans`.

        Raises:
            GenerationError: The backend that generates is gone; raised on every process.
        """
        if self._generation.plays_on_main:
            return self._play_on_main(plans)
        with self._generation.phase():
            rank, num_processes = self._accelerator.process_index, self._accelerator.num_processes
            own = plans[len(plans) * rank // num_processes : len(plans) * (rank + 1) // num_processes]
            played: list[list[Episode] | GenerationError] = gather_object([self._try_to_play(own)])
            return _all_played(played)

    def _play_on_main(self, plans: Sequence[GamePlan]) -> list[Episode]:
        """Returns the games that the main process plays for all, or raises on all what it meets."""
        answer: list[Any] = [None]
        try:
            # All processes take part in sending the weights.
            with self._generation.phase():
                if self._accelerator.is_main_process:
                    answer = [self._try_to_play(plans)]
        except GenerationError as error:
            answer = [error]
        broadcast_object_list(answer)
        return _all_played(answer)

    def _try_to_play(self, plans: Sequence[GamePlan]) -> list[Episode] | GenerationError:
        """Returns the games that this process plays, or why it cannot: the others must hear of it."""
        try:
            return self._play_here(plans)
        except GenerationError as error:
            return error
        except EndpointError as error:
            return GenerationError(f"an opponent does not answer: {error}")

    def _play_here(self, plans: Sequence[GamePlan]) -> list[Episode]:
        """Returns the games that this process plays itself."""
        tables = [self._table(plan, first_number=plans[0].number) for plan in plans]
        concurrency = self._args.max_concurrent_games
        if self._uses_pool(plans):
            with self._generation.requests() as requests:
                episodes = in_order(play_pool(tables, self.agent, requests, concurrency=concurrency))
        else:
            episodes = in_order(play_waves(tables, concurrency=concurrency))
        self._generation.finish()
        return episodes

    def _uses_pool(self, plans: Sequence[GamePlan]) -> bool:
        """Returns whether games are played in a pool of single requests rather than in waves."""
        generation = self._generation
        if self._args.collector != "auto" or not generation.takes_requests:
            return self._args.collector == "pool"
        # An engine whose weights are swapped is no pool: it answers one model at a time.
        return not (generation.can_swap and any(plan.opponent == LEAGUE for plan in plans))

    def _table(self, plan: GamePlan, *, first_number: int) -> Table:
        """Returns a new game and who sits at it; `first_number` is that of the first game played along with it."""
        opponent: Agent = self.agent
        if plan.opponent == LEAGUE:
            opponent = self._drawn_snapshot(first_number)
        elif plan.opponent != SELF:
            opponent = self._opponent(plan.opponent, match_seed(self._args.seed, first_number))
        num_seats = len(find_source(plan.game).roles)
        agents = [self.agent if seat in plan.learner_seats else opponent for seat in range(num_seats)]
        return set_table(plan.number, plan.game, plan.seed, agents)

    def _opponent(self, kind: str, seed: int) -> Agent:
        """Returns the agent of that name; its draws begin anew in every batch, so that a resumed run repeats them."""
        if kind not in self._opponents:
            with whole_models():
                self._opponents[kind] = make_agent(kind, seed=seed)
        agent = self._opponents[kind]
        if isinstance(agent, SeededAgent):
            agent.reseed(seed)
        return agent

    def _drawn_snapshot(self, first_number: int) -> Agent:
        """Returns the snapshot that plays in this batch: one a process, so that one model is held at a time."""
        assert self._league is not None, "only a run with a league has games against it"
        step = self._league.draw(self._args.seed, first_number)
        if self._snapshot is None or self._snapshot[0] != step:
            self._snapshot = None  # frees the memory of the one before
            sampler = self._generation.snapshot_sampler(self._league.folder_of(step))
            self._snapshot = step, self._make_model_agent(sampler, f"{LEAGUE}:{step}")
        return self._snapshot[1]


def _all_played(played: Sequence[list[Episode] | GenerationError]) -> list[Episode]:
    """Returns the games of all processes in order, or raises what one of them met: on all of them the same."""
    episodes: list[Episode] = []
    for each in played:
        if isinstance(each, GenerationError):
            raise each
        episodes += each
    return episodes
