"""Self-play on TRL: one model plays every seat of zero-sum games and learns by role-conditioned advantages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spiral_envs.errors import MissingExtraError
from spiral_trl.advantages import RoleBaseline

if TYPE_CHECKING:
    from spiral_trl.config import SelfPlayConfig
    from spiral_trl.trainer import SelfPlayTrainer

__all__ = ["RoleBaseline", "SelfPlayConfig", "SelfPlayTrainer"]


def __getattr__(name: str) -> Any:
    """Imports torch and TRL only when the trainer or its settings are asked for.

    Raises:
        MissingExtraError: The packages of the extra `train` are not installed.
    """
    if name not in ("SelfPlayConfig", "SelfPlayTrainer"):
        raise AttributeError(f"module 'spiral_trl' has no attribute {name!r}")
    try:
        from spiral_trl.config import SelfPlayConfig
        from spiral_trl.trainer import SelfPlayTrainer
    except ModuleNotFoundError as error:
        raise MissingExtraError("training", "train") from error
    return {"SelfPlayConfig": SelfPlayConfig, "SelfPlayTrainer": SelfPlayTrainer}[name]
