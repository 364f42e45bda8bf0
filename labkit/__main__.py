"""`python -m labkit` is `labkit`, for where the command is not on the path."""

from labkit.cli import main

main(prog_name="labkit")
