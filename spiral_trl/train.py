"""The training command: `spiral-train --config NAME_OR_FILE [--any_field value]`.

Under `accelerate launch` it is `accelerate launch -m spiral_trl.train --config NAME_OR_FILE`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from spiral_envs.errors import MissingExtraError


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the training and exits: 0 when it is done, 2 on bad input, 130 when it was interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        # Heavy, and missing without the extra.
        from spiral_trl.run import BadInputError, run
    except ModuleNotFoundError as error:
        sys.exit(f"spiral-train: {MissingExtraError(f'training (no module {error.name})', 'train')}")
    try:
        sys.exit(run(arguments))
    except BadInputError as error:
        print(f"spiral-train: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
