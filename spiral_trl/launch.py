"""Where the packaged configurations of `accelerate launch` are.

    accelerate launch --config_file $(python -m spiral_trl.launch zero3) -m spiral_trl.train --config qwen3_4b

`ddp`, `zero3` and `fsdp` use 8 GPUs of one machine, `multi_node` several machines; what is said on the command line of
`accelerate launch`, such as `--num_processes 4`, wins over the file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from spiral_envs.errors import UnknownNameError


def accelerate_config_names() -> tuple[str, ...]:
    """Returns the names of the packaged configurations of accelerate."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def accelerate_config_path(name: str) -> Path:
    """Returns the file that `accelerate launch --config_file` takes.

    Raises:
        UnknownNameError: There is no such configuration.
    """
    if name not in accelerate_config_names():
        raise UnknownNameError("accelerate config", name, accelerate_config_names())
    return _folder() / f"{name}.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the path of one configuration and exits: 0, or 2 when there is none of that name."""
    parser = argparse.ArgumentParser(
        prog="python -m spiral_trl.launch",
        description="Prints the path of a packaged configuration, for accelerate launch --config_file.",
    )
    parser.add_argument("name", help=" or ".join(accelerate_config_names()))
    name = parser.parse_args(argv).name
    try:
        path = accelerate_config_path(name)
    except UnknownNameError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    sys.stdout.write(f"{path}\n")


def _folder() -> Path:
    return Path(str(files("spiral_trl").joinpath("accelerate_configs")))


if __name__ == "__main__":
    main()
