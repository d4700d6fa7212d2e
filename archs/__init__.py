"""Models: masks, the core, the five families. This room imports no objective, no data and no Lightning."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archs.families.named import FAMILIES, CoreConfig, Family, build

__all__ = ["FAMILIES", "CoreConfig", "Family", "build"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the command line reads archs.errors and must answer before torch is imported.
    if name not in __all__:
        raise AttributeError(f"module 'archs' has no attribute '{name}'")
    from archs.families import named as families

    return getattr(families, name)
