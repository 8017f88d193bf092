"""The training command: `spiral-train --config NAME_OR_FILE [--any_field value]`.

`spiral-train sft --experts AGENT --games GAME --model_name_or_path MODEL --output_dir FOLDER` trains on games of
experts instead. `--help` lists the options. Under `accelerate launch` they are
`accelerate launch -m spiral_trl.train --config NAME_OR_FILE` and `accelerate launch -m spiral_trl.train sft ...`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from spiral_envs.errors import MissingExtraError

SUPERVISED: Final = "sft"
"""The first word of the command that trains on games of experts."""

_INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as in `spiral_trl.command_line`, which may still be about to be imported."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the training and exits.

    The exit codes: 0 when it is done, 1 when it was stopped (a loss that is not finite, a sign of collapse, generation
    that failed, packages that are missing), 2 on bad input, 130 on Ctrl-C.
    """
    try:
        _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        # While the packages are imported, settings are read or a model is loaded.
        print("spiral-train: stopped", file=sys.stderr)
        sys.exit(_INTERRUPTED)


def _run(arguments: list[str]) -> NoReturn:
    try:
        # Heavy, and missing without the extra.
        from spiral_trl.command_line import BadInputError
        from spiral_trl.run import run
        from spiral_trl.sft_run import run_sft
    except ModuleNotFoundError as error:
        sys.exit(f"spiral-train: {MissingExtraError(f'training (no module {error.name})', 'train')}")
    try:
        sys.exit(run_sft(arguments[1:]) if arguments[:1] == [SUPERVISED] else run(arguments))
    except BadInputError as error:
        print(f"spiral-train: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
