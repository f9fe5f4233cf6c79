"""`python -m firedoor.cli`: the command where its script is not on the path."""

from firedoor.cli import main

main()
