"""Agents: whoever sits in a seat and answers views with replies."""

from __future__ import annotations

from spiral_envs.agents.base import Agent
from spiral_envs.agents.registry import agent_names, make_agent

__all__ = ["Agent", "agent_names", "make_agent"]
