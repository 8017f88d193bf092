"""Exact measures of play: what a policy is worth, how much a best response wins from it, and equilibria.

A native game is written out as a tree in Gambit's extensive form, which OpenSpiel reads and solves; no solver is
written here. Observations name the information sets, which the laws of a game allow: in games with hidden information
equal text means equal own history. In games of perfect information every history is an information set of its own, but
a policy is asked once a position.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, TypeAlias

from spiral_envs.errors import MissingExtraError
from spiral_envs.game import CHANCE, TERMINAL, GameSpec, Player
from spiral_envs.kept_policies import KeptPolicy, keep_policy, policy_folder, read_policy
from spiral_envs.match import View, make_view
from spiral_envs.registry import find_game
from spiral_envs.tree import walk

InformationSet: TypeAlias = tuple[Player, str]
"""A seat and what it observes."""

Policy: TypeAlias = Callable[[View], Mapping[str, float]]
"""From a view to the probability of each legal move, by its text; a move that is left out has probability 0."""

SUM_TOLERANCE: Final = 1e-6
"""How far from 1 the sum of a policy's probabilities may be."""

TARGET_NASH_CONV: Final = 1e-4
"""`equilibrium` stops when it is this close."""

MAX_ITERATIONS: Final = 3_000
"""`equilibrium` stops after this many iterations of CFR+."""

MAX_VISITS: Final = 200_000_000
"""`equilibrium` stops after this many visits of nodes, about two minutes; only large trees come to it."""

KEPT_INFORMATION_SETS: Final = 500
"""A game with as many or more is solved in seconds or minutes, and its equilibrium is kept on disk."""

_ITERATIONS_PER_CHECK: Final = 100


@dataclass(frozen=True, slots=True)
class Exploitability:
    """How good a policy is that plays every seat.

    Attributes:
        nash_conv: What the seats could gain in all, each by its own best response; 0 for an equilibrium.
        exploitability: `nash_conv` divided by the number of seats.
        best_response_values: What a best response in each seat gets while the policy plays the others.
        on_policy_values: What each seat gets while the policy plays all of them.
    """

    nash_conv: float
    exploitability: float
    best_response_values: tuple[float, ...]
    on_policy_values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Equilibrium:
    """An approximate Nash equilibrium.

    Attributes:
        policy: The probability of every legal move, by its text, in every information set.
        result: How close it is, and what it is worth to each seat.
    """

    policy: Mapping[InformationSet, Mapping[str, float]]
    result: Exploitability


def information_sets(game_id: str, **options: object) -> dict[InformationSet, View]:
    """Returns a view of every situation in which a player may have to move.

    These are all the views that `exploitability` asks a policy about, so that a model can be read in one batch.

    Raises:
        UnknownNameError: No such game or option.
        ValueError: The game is too large.
    """
    return _write(find_game(game_id, **options)).views


def exploitability(game_id: str, policy: Policy, **options: object) -> Exploitability:
    """Returns how much best responses win from `policy`, exactly.

    Args:
        game_id: A native game, with options in parentheses if you like.
        policy: Called once for every view of `information_sets`. What it returns is checked, never repaired.
        options: The game's own options.

    Raises:
        MissingExtraError: OpenSpiel is not installed.
        UnknownNameError: No such game or option.
        ValueError: The game is too large, or `policy` returns something that is not a distribution over legal moves.
    """
    pyspiel = _openspiel()
    tree = _write(find_game(game_id, **options))
    chosen = {where: _probabilities(view, policy(view)) for where, view in tree.views.items()}
    table = _table(tree, tuple(chosen[where] for where in tree.keys.values()))
    return _measure(pyspiel, pyspiel.load_efg_game(tree.efg), pyspiel.TabularPolicy(table))


def equilibrium(game_id: str, **options: object) -> Equilibrium:
    """Returns an equilibrium of a game of two with hidden information, found by CFR+ (arXiv 1407.5042).

    It is the average policy of the iterations. It is computed once a process and configuration; that of a game with
    `KEPT_INFORMATION_SETS` or more is kept in the user's cache folder for other processes.

    Raises:
        MissingExtraError: OpenSpiel is not installed.
        UnknownNameError: No such game or option.
        ValueError: The game is too large, or of another kind.
    """
    return _equilibrium_once(find_game(game_id, **options))


def equilibrium_of(spec: GameSpec) -> Equilibrium:
    """Returns an equilibrium of a game that need not be registered; see `equilibrium`."""
    if spec.perfect_information or not spec.zero_sum or spec.game.num_players != 2:
        raise ValueError(
            f"CFR+ cannot solve {spec.label}: it needs two players, hidden information and returns that sum to 0"
        )
    pyspiel = _openspiel()
    tree = _write(spec)
    game = pyspiel.load_efg_game(tree.efg)
    folder = policy_folder() if len(tree.views) >= KEPT_INFORMATION_SETS else None
    if folder is None:
        return _equilibrium_in(tree, *_solve(pyspiel, game, tree))
    name = f"{spec.name}-{_digest(tree)}"
    kept = read_policy(folder, name)
    result = None if kept is None else _measured_again(pyspiel, game, tree, kept)
    if kept is not None and result is not None:
        return _equilibrium_in(tree, kept.probabilities, result)
    probabilities, result = _solve(pyspiel, game, tree)
    keep_policy(folder, name, KeptPolicy(probabilities, result.nash_conv))
    return _equilibrium_in(tree, probabilities, result)


_Probabilities: TypeAlias = tuple[tuple[float, ...], ...]
"""Those of the legal moves in every information set, in the order of `_Tree.keys`."""


def _solve(pyspiel: Any, game: Any, tree: _Tree) -> tuple[_Probabilities, Exploitability]:
    """Returns the average policy of CFR+ and how good it is."""
    solver = pyspiel.CFRPlusSolver(game)
    for iteration in range(1, min(MAX_ITERATIONS, MAX_VISITS // tree.num_nodes) + 1):
        solver.evaluate_and_update_policy()
        is_due = iteration % _ITERATIONS_PER_CHECK == 0
        if is_due and _measure(pyspiel, game, solver.average_policy()).nash_conv <= TARGET_NASH_CONV:
            break
    average = solver.tabular_average_policy()
    table = average.policy_table()
    probabilities = tuple(tuple(float(probability) for _, probability in table[key]) for key in tree.keys)
    return probabilities, _measure(pyspiel, game, average)


def _measured_again(pyspiel: Any, game: Any, tree: _Tree, kept: KeptPolicy) -> Exploitability | None:
    """Returns how good a kept policy is, or None when it is not what was kept."""
    if len(kept.probabilities) != len(tree.keys):
        return None
    for row, where in zip(kept.probabilities, tree.keys.values(), strict=True):
        # Written so that a NaN is refused.
        is_distribution = all(0 <= number <= 1 for number in row) and abs(math.fsum(row) - 1) <= SUM_TOLERANCE
        if len(row) != len(tree.views[where].legal_moves or ()) or not is_distribution:
            return None
    result = _measure(pyspiel, game, pyspiel.TabularPolicy(_table(tree, kept.probabilities)))
    return result if abs(result.nash_conv - kept.nash_conv) <= SUM_TOLERANCE else None


def _equilibrium_in(tree: _Tree, probabilities: _Probabilities, result: Exploitability) -> Equilibrium:
    policy: dict[InformationSet, dict[str, float]] = {}
    for row, where in zip(probabilities, tree.keys.values(), strict=True):
        legal = tree.views[where].legal_moves
        assert legal is not None, "a native game lists its moves"
        policy[where] = dict(zip(legal, row, strict=True))
    return Equilibrium(policy, result)


def _table(tree: _Tree, probabilities: _Probabilities) -> dict[str, list[tuple[int, float]]]:
    return {key: list(enumerate(row)) for key, row in zip(tree.keys, probabilities, strict=True)}


def _digest(tree: _Tree) -> str:
    """Returns a digest of all that a policy depends on: the tree, the texts and how it is solved."""
    digest = hashlib.sha256(f"{TARGET_NASH_CONV} {MAX_ITERATIONS} {MAX_VISITS}\n{tree.efg}".encode())
    for (seat, observation), view in tree.views.items():
        digest.update(repr((seat, observation, view.legal_moves)).encode())
    return digest.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Tree:
    """A game written for OpenSpiel.

    Attributes:
        efg: The tree in Gambit's extensive form.
        num_nodes: Its size.
        keys: OpenSpiel's name of every information set, with ours.
        views: What the player to move is shown in each.
    """

    efg: str
    num_nodes: int
    keys: dict[str, InformationSet]
    views: dict[InformationSet, View]


def _write(spec: GameSpec) -> _Tree:
    """Returns the tree of `spec`.

    Moves are labelled by their position in the game's own order, from which OpenSpiel makes its action numbers.

    Raises:
        ValueError: The game is too large, or players may say more than is listed.
    """
    if spec.talk:
        raise ValueError(
            f"{spec.label} cannot be solved: players may say words of their own, which no list of moves has"
        )
    game = spec.game
    keys: dict[str, InformationSet] = {}
    views: dict[InformationSet, View] = {}
    # OpenSpiel wants each player's information sets numbered from 1 without gaps.
    numbers: list[dict[object, int]] = [{} for _ in range(game.num_players)]
    players = " ".join(_quote(seat) for seat in range(game.num_players))
    lines = [f'EFG 2 R "{spec.id}" {{ {players} }} ""']
    for index, (state, player, turn) in enumerate(walk(spec), start=1):
        if player == TERMINAL:
            payoffs = " ".join(map(repr, game.returns(state)))
            lines.append(f't "" {index} "" {{ {payoffs} }}')
        elif player == CHANCE:
            outcomes = game.chance_outcomes(state)
            branches = " ".join(f"{_quote(at)} {probability!r}" for at, (_, probability) in enumerate(outcomes))
            lines.append(f'c "" {index} "" {{ {branches} }} 0')
        else:
            where = (player, spec.codec.observe(state, player))
            if where not in views:
                views[where] = make_view(spec, state, player, turn=turn)
            number = numbers[player].setdefault(index if spec.perfect_information else where, len(numbers[player]) + 1)
            keys[f"{player}-{player}-{number}-"] = where
            branches = " ".join(map(_quote, range(len(game.legal_moves(state)))))
            lines.append(f'p "" {player + 1} {number} "" {{ {branches} }} 0')
    return _Tree("\n".join((*lines, "")), len(lines) - 1, keys, views)


def _quote(label: int) -> str:
    return f'"{label}"'


def _probabilities(view: View, probabilities: Mapping[str, float]) -> tuple[float, ...]:
    """Returns the probabilities of the legal moves in their order.

    Raises:
        ValueError: They are not a distribution over the legal moves.
    """
    assert view.legal_moves is not None, "a native game lists its moves"
    where = f"policy of {view.game}, {view.role}, at {view.observation!r}"
    for move, probability in probabilities.items():
        if move not in view.legal_moves:
            raise ValueError(f"{where}: {move!r} is not legal, expected {' or '.join(view.legal_moves)}")
        # Written so that a NaN is refused.
        if not 0 <= probability <= 1 + SUM_TOLERANCE:
            raise ValueError(f"{where}: the probability of {move} is {probability!r}")
    total = math.fsum(probabilities.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(f"{where}: the probabilities sum to {total!r}, expected 1")
    # Only rounding is left in the total.
    return tuple(float(probabilities.get(move, 0.0)) / total for move in view.legal_moves)


def _measure(pyspiel: Any, game: Any, policy: Any) -> Exploitability:
    num_players: int = game.num_players()
    root = game.new_initial_state()
    on_policy = tuple(map(float, pyspiel.expected_returns(root, policy, -1, True)))
    best = tuple(
        float(pyspiel.TabularBestResponse(game, seat, policy).value_from_state(root)) for seat in range(num_players)
    )
    nash_conv = math.fsum(best) - math.fsum(on_policy)
    return Exploitability(nash_conv, nash_conv / num_players, best, on_policy)


def _openspiel() -> Any:
    """Returns the module `pyspiel`, which has no type stubs."""
    try:
        return import_module("pyspiel")
    except ImportError as error:
        raise MissingExtraError("exact solving", "openspiel") from error


@lru_cache(maxsize=64)
def _equilibrium_once(spec: GameSpec) -> Equilibrium:
    return equilibrium_of(spec)
