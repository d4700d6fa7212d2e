"""What a model is: masks, the core, the five families. Knows no objective, no data, no Lightning."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archs.families.named import FAMILIES, CoreConfig, Family, build

__all__ = ["FAMILIES", "CoreConfig", "Family", "build"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: the command line reads archs.errors and must answer before torch is imported.
    if name not in __all__:
        raise AttributeError(f"module 'archs' has no attribute '{name}'")
    from archs.families import named as families

    return getattr(families, name)
