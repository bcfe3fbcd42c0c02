"""The agent's modules as a test file has imported them, where other tests load them again."""

from __future__ import annotations

import sys
from types import ModuleType


def loaded() -> dict[str, ModuleType]:
    """Return the modules of the agent that are loaded, by name."""
    return {name: module for name, module in sys.modules.items() if _is_of_the_agent(name)}


def restore(modules: dict[str, ModuleType]) -> None:
    """Let these be the agent's modules, and no other."""
    for name in loaded():
        del sys.modules[name]
    sys.modules.update(modules)
    for name, module in modules.items():
        if "." in name:
            setattr(modules["ota"], name.split(".")[1], module)


def _is_of_the_agent(name: str) -> bool:
    return name == "ota" or name.startswith("ota.")
