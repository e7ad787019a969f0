"""`python -m radiograph` is the command line."""

from radiograph.surfaces.cli import main

main()
