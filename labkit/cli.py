"""The command `labkit`. Each subcommand imports what it needs, so that help comes at once."""

import shlex
import sys
import warnings
from contextlib import closing
from pathlib import Path

import click

from labkit.prompts import prompts_for


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="labkit")
def main() -> None:
    """The course on diffusion models, and the package under it."""


def sentence(error: Exception) -> click.ClickException:
    """An error of ours, as one line on the terminal."""
    return click.ClickException(str(error))


class File(click.Path):
    """The path of a file or folder, where "~" is the home folder."""

    def __init__(self):
        super().__init__(path_type=Path)

    def convert(self, value, param, ctx):
        if not value:
            self.fail("it is empty, but must be the path of a file or folder", param, ctx)
        try:
            return super().convert(value, param, ctx).expanduser()
        except RuntimeError as error:
            self.fail(f"{value}: {error}", param, ctx)


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

    sys.exit(course.open_lab(lessons_in(folder), jupyter))


@main.command()
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Where your copy goes.")
def copy(folder: Path | None) -> None:
    """Copy the lessons as `labkit lab` does, and open nothing."""
    click.echo(f"the lessons are in {lessons_in(folder)}")


def lessons_in(folder: Path | None) -> Path:
    """The folder that `labkit.lab.course.folder` gives or makes."""
    from labkit.lab import course

    try:
        return course.folder(folder)
    except OSError as error:
        raise click.ClickException(f"{error}; choose a folder of yours with --to") from None


@main.command()
@click.option("--in", "folder", type=click.Path(path_type=Path), help="Your copy, if not here.")
@click.option("--reset", is_flag=True, help="Forget all of it.")
def progress(folder: Path | None, reset: bool) -> None:
    """Show how many exercises you have passed, and questions answered, in each lesson."""
    from labkit.lab import progress, progress_strip

    try:
        path = progress.find(folder)
        if reset:
            progress.reset(path)
        lines = f"forgotten: {path}" if reset else progress_strip.report(path)
    except ValueError as error:
        raise click.ClickException(f"{error}; --reset would begin anew") from None
    except OSError as error:
        raise sentence(error) from None
    say(lines)


@main.command()
@click.argument("lesson")
@click.option("--format", type=click.Choice(["nbgrader", "otter"]), required=True)
@click.option("--to", "folder", type=File(), required=True, help="Where it is written.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of the hidden tests.")
def assignment(lesson: str, format: str, folder: Path, seed: int | None) -> None:
    """Turn the exercises of LESSON, such as 01, into an assignment for an autograder."""
    from labkit.lab import assignment

    try:
        for path in assignment.write(lesson, format, folder, seed):
            say(f"{path} is written")
    except (ValueError, OSError) as error:
        raise sentence(error) from None


@main.command()
@click.argument("file", type=File(), required=False)
@click.option("--name", help="Of your entry.  [default: the file's]")
@click.option("--in", "folder", type=click.Path(path_type=Path), help="Your copy, if not here.")
def challenge(file: Path | None, name: str | None, folder: Path | None) -> None:
    """Score the function `sample` of FILE in the open challenge, and show the leaderboard.

    Your entries are kept beside your copy of the lessons. Without FILE: the leaderboard alone.
    """
    from labkit.lab import challenge, progress

    try:
        kept = progress.find(folder).with_name(challenge.FILE)
        if file:
            sample, name = challenge.load(file), challenge.named(name or file.stem)
            challenge.entries(kept)
            click.echo("eighteen rounds of 80 pictures: half a minute of one core", err=True)
            challenge.keep(kept, name, challenge.score(sample))
        lines = challenge.table(challenge.entries(challenge.STORED) | challenge.entries(kept))
    except (ValueError, OSError) as error:
        raise sentence(error) from None
    say(lines)


@main.command()
def doctor() -> None:
    """Check the set-up; for each thing that is wrong, one line how to mend it."""
    from labkit.lab.doctor import examine, report

    findings = examine()
    report(findings)
    sys.exit(any(finding.verdict == "fault" for finding in findings))


def where(name: str | None):
    """The device of that name, as `labkit.devices.named` finds it; for none the CPU, and a line
    that says if something faster is here."""
    from labkit import devices

    if name is None and (other := devices.faster()):
        click.echo(f"running on the CPU; {other} is here and faster: --device {other}", err=True)
    return devices.named(name or "cpu")


DEVICE = click.option(
    "--device", help="Where to compute: cpu, cuda, cuda:1, mps.  [default: cpu]", metavar="NAME"
)


@main.command("list")
def list_systems() -> None:
    """List the systems that can be trained and sampled, and what training each costs."""
    from labkit import zoo

    for name in zoo.names():
        recipe = zoo.recipe(name)
        if recipe.parts:
            cost = f"made of {', '.join(recipe.parts.values())}"
        else:
            shipped = "shipped" if (zoo.WEIGHTS / f"{name}.safetensors").exists() else "not shipped"
            cost = f"{shipped}; {recipe.minutes:g} minutes of processor time to train"
        click.echo(f"{name}  ({cost})")
        click.echo(f"    {recipe.about}")


@main.command()
@click.argument("name")
@click.option("--out", type=File(), help="The file; default NAME.safetensors.")
@click.option(
    "--pictures",
    type=File(),
    help="Your own: a folder or zip with a folder of pictures for each class.",
)
@DEVICE
@click.option("--overwrite", is_flag=True, help="Begin anew, and replace the file if it exists.")
def train(
    name: str, out: Path | None, pictures: Path | None, device: str | None, overwrite: bool
) -> None:
    """Train system NAME by its recipe. Stopped, it goes on where it was when started again."""
    from tqdm import tqdm

    from labkit import zoo

    out = out or Path(f"{name}.safetensors")
    try:
        total = zoo.trainable(name).training["steps"]
        run = zoo.run_of(out)
        if run.exists() and not overwrite:
            click.echo(f"going on with {run}; --overwrite would begin anew", err=True)
        elif out.is_file() and not overwrite:
            raise ValueError(f"{out} exists; give --overwrite to replace it, or another --out")
        if pictures:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the report says it all
                pictures = zoo.own_pictures(name, pictures)
            click.echo(pictures.report, err=True)
        options = {"pictures": pictures, "device": where(device), "overwrite": overwrite}
        bar = tqdm(total=total, unit="step", desc=name)
        with closing(zoo.train(name, out, **options)) as steps, bar:
            for step in steps:
                bar.update(step.step - bar.n)
                bar.set_postfix(loss=f"{step.loss:.4f}", images_s=f"{step.images_per_second:.0f}")
    except (ValueError, FloatingPointError, OSError) as error:
        raise sentence(error) from None
    except KeyboardInterrupt:
        raise click.ClickException(
            "stopped; start again, without --overwrite, to go on where it was"
        ) from None
    draws = hasattr(zoo.recipe(name).system, "generate")
    say(f"{out} is written" + (f": labkit sample {shlex.quote(str(out))}" if draws else ""))


def say(line: str) -> None:
    """Prints it, with \\x.. for what the terminal cannot show: the work is done by now."""
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(line.encode(encoding, "backslashreplace").decode(encoding))


@main.command()
@click.argument("name")
@click.option("--out", type=File(), default="grid.png", show_default=True)
@click.option(
    "--number", type=click.IntRange(min=1), default=64, show_default=True, help="How many pictures."
)
@click.option(
    "--label", "labels", multiple=True, help="Of this class, its name or number; may be repeated."
)
@click.option(
    "--prompt", "sentences", multiple=True, help="What to show, in words; may be repeated."
)
@click.option("--scale", type=float, help="Of guidance.  [default: the system's own]")
@click.option("--steps", default=50, show_default=True, help="Steps of DDIM.")
@click.option("--seed", default=0, show_default=True)
@click.option("--weights", type=File(), help="A file that `train` wrote.")
@DEVICE
@click.option("--overwrite", is_flag=True, help="Replace the picture if it exists.")
def sample(
    name, out, number, labels, sentences, scale, steps, seed, weights, device, overwrite
) -> None:
    """Draw pictures with system NAME, or with the file NAME that `train` wrote, and
    save them side by side.

    A class-conditional system draws the labels in turn, all of them unless --label says which; one
    that hears sentences draws each --prompt in turn.
    """
    from tqdm import tqdm

    from labkit import checkpoint, zoo
    from labkit.lab import plots

    try:
        if out.is_dir():
            raise ValueError(f"{out} is a folder, but must be the file to write the picture to")
        if out.exists() and not overwrite:
            raise ValueError(f"{out} exists; give --overwrite to replace it, or another --out")
        format = plots.file_format(out)
        file = Path(name).expanduser()
        if name not in zoo.names() and (file.is_file() or name.endswith(".safetensors")):
            if weights:
                raise ValueError(f"{name} is a file with its own weights: leave out --weights")
            system = zoo.load(path=file)
        else:
            system = zoo.load(name, weights)
        system.to(where(device))
        if not hasattr(system, "generate"):
            raise ValueError(f"{name} looks at pictures and draws none; see `labkit list`")
        prompts = prompts_for(system, name, number, labels, sentences)
        if scale is not None and not system.hears:
            raise ValueError(f"{name} hears no condition to guide it: leave out --scale")
        guided = {} if scale is None else {"scale": scale}
        states = system.generate(prompts, steps=steps, seed=seed, **guided)
        stages = len(getattr(system, "stages", ("only",)))
        with tqdm(total=steps * stages, unit="step", desc=name) as bar:
            for state in states:
                bar.set_postfix_str(state.stage)
                bar.update()
        checkpoint.write_whole(out, plots.in_format(plots.image_grid(state.pictures), format))
    except (ValueError, OSError) as error:
        raise sentence(error) from None
    say(f"{out} holds {number} picture{'' if number == 1 else 's'}")
