"""The command `labkit`. Each subcommand imports what it needs, so that help comes at once."""

import sys
from pathlib import Path

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="labkit")
def main() -> None:
    """The course on diffusion models, and the package under it."""


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Where your copy goes.")
@click.argument("jupyter", nargs=-1, type=click.UNPROCESSED)
def lab(folder: Path | None, jupyter: tuple[str, ...]) -> None:
    """Open the course in JupyterLab, on lesson 00.

    In a checkout the lessons open where they are. An installed labkit first copies them to a folder
    of yours (diffusion-course, or what --to says) and leaves alone what is already there. Further
    arguments, such as --no-browser, go to JupyterLab.
    """
    from labkit.lab import course

    try:
        folder = course.folder(folder)
    except OSError as error:
        raise click.ClickException(f"{error}; choose a folder of yours with --to") from None
    sys.exit(course.open_lab(folder, jupyter))


@main.command()
def doctor() -> None:
    """Check the set-up; for each thing that is wrong, one line how to mend it."""
    from labkit.lab.doctor import examine, report

    findings = examine()
    report(findings)
    sys.exit(any(finding.verdict == "fault" for finding in findings))
