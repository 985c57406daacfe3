"""Parts of optional packages: a test skips where the package is absent, and fails where it is there and broken."""

from importlib import import_module, metadata
from types import ModuleType

import pytest


def part_of(distribution: str, module: str) -> ModuleType:
    """Import `module` of an installed distribution; skip without the distribution, fail without the module."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed", allow_module_level=True)
    try:
        return import_module(module)
    except ImportError as error:
        pytest.fail(
            f"{distribution} is installed, and its {module} cannot be imported ({error}). Install {error.name} too."
        )
