"""Speed, as ratios measured in one run: `python benchmarks/throughput.py envs`, or another in its place.

envs: turns a second of the games beside TextArena and OpenSpiel.
rollout: tokens a second of self-play beside bare batches and one game at a time.
train: time and memory of a training step beside TRL's GRPOTrainer, and where a step of self-play goes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks import throughput_envs, throughput_rollout, throughput_train


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status of the measurement that `arguments` (default: the command line) name."""
    parser = argparse.ArgumentParser(prog="throughput.py", description="Measures speed, as ratios within one run.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="MEASUREMENT")
    throughput_envs.add_command(commands)
    throughput_rollout.add_command(commands)
    throughput_train.add_command(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
