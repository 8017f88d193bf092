"""The games that are tested as games: every registered one, and options that change its rules."""

import spiral_envs

GAMES = spiral_envs.game_ids()

VARIANTS = (
    *GAMES,
    "tic_tac_toe_v0(rows=4,columns=5,in_a_row=4)",
    "connect_four_v0(rows=4,columns=5,in_a_row=3)",
    "breakthrough_v0(rows=5,columns=3)",
    "nim_v0(piles=3-4-5,misere=True)",
    "kuhn_poker_v0(hands=1,payoff=chips)",
    "kuhn_poker_v0(hands=2)",
    "kuhn_poker_v0(hands=1,players=3)",
    "kuhn_poker_v0(hands=1,cards=5)",
    "leduc_poker_v0(hands=2,payoff=win)",
    "leduc_poker_v0(players=3)",
    "liars_dice_v0(dice=2,sides=2)",
    "liars_dice_v0(players=3,sides=2)",
    "simple_negotiation_v0(values=drawn)",
    "simple_negotiation_v0(turns=4)",
    "simple_negotiation_v0(resources=3)",
    "simple_negotiation_v0(resources=8,values=drawn)",
    "snake_v0(width=4,height=4,apples=3)",
    "colonel_blotto_v0(rounds=3)",
    "rock_paper_scissors_v0(rounds=3,payoff=points)",
    "pig_dice_v0(target=10)",
    "truth_and_deception_v0(turns=2)",
    "adversarial_taboo_v0(turns=1)",
)
