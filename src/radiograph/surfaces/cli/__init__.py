"""The command line."""

from radiograph.surfaces.cli._main import main

__all__ = ["main"]
