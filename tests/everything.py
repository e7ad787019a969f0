"""Imports the whole package: what `forked` preloads."""

from importlib import import_module
from pkgutil import walk_packages

import radiograph

for module in walk_packages(radiograph.__path__, "radiograph."):
    if not module.name.endswith("__main__"):
        import_module(module.name)
