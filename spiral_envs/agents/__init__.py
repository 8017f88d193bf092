"""Agents: whoever sits in a seat and answers views with replies."""

from __future__ import annotations

from spiral_envs.agents.base import Agent, EndpointError
from spiral_envs.agents.registry import agent_names, make_agent
from spiral_envs.agents.scripted import ScriptedAgent

__all__ = ["Agent", "EndpointError", "ScriptedAgent", "agent_names", "make_agent"]
