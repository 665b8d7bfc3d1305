"""`python -m crate.sweep`: what sweeps do and found. Imports no torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from crate.config.check import CHECKOUT
from crate.config.errors import UserError
from crate.sweep.folder import find_sweep

EPILOG = """\
NAME is a sweep's name, or that of its folder. RUN is one or more of its values, such as
model.sparsity=0.1 or sparsity=0.1 seed=0, or the start of a signature; without, all runs.
Exit codes: 0 all well, 1 a run has ended without having finished, 2 a mistake on the command line.
"""


def parser() -> argparse.ArgumentParser:
    """Returns the commands and their flags."""
    whole = argparse.ArgumentParser(
        prog="python -m crate.sweep",
        description="What sweeps do, and what they found.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument(
        "--outputs", type=Path, default=CHECKOUT / "outputs", help="where the runs are: outputs="
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help: str, *, sweep: str | None = None, runs: bool = False):
        command = commands.add_parser(name, help=help, description=help)
        if sweep != "none":
            command.add_argument("sweep", metavar="NAME", nargs=sweep)
        if runs:
            command.add_argument("runs", metavar="RUN", nargs="*")
        return command

    add("list", "every sweep, and how far it is", sweep="none")
    status = add("status", "what each run does", runs=True)
    status.add_argument("--watch", action="store_true", help="until all have ended")
    status.add_argument("--json", action="store_true", help="for programs")
    tail = add("tail", "the last lines that runs said", runs=True)
    tail.add_argument("-n", type=int, default=5, metavar="LINES", help="how many (5)")
    tail.add_argument("-f", "--follow", action="store_true", help="and what comes, until Ctrl-C")
    add("logs", "all that runs said, their jobs' own files too", runs=True)
    add("path", "the folder of the sweep, or of runs", runs=True)
    results = add("results", "what was found: last and best, mean and standard error over seeds")
    results.add_argument("--json", dest="form", action="store_const", const="json", default="table")
    results.add_argument("--csv", dest="form", action="store_const", const="csv")
    cancel = add("cancel", "end runs, which save first", runs=True)
    retry = add("retry", "run again what did not finish, as it was frozen", runs=True)
    retry.add_argument("--failed", action="store_true", help="only what failed, or was killed")
    retry.add_argument("--lost", action="store_true", help="only what no job knows of any more")
    retry.add_argument("--new-code", action="store_true", help="by the checkout as it is now")
    clean = add("clean", "remove a sweep; without NAME what no sweep needs", sweep="?")
    for command in (cancel, clean):
        command.add_argument("-y", "--yes", action="store_true", help="do not ask")
    add("sync", "upload what was logged offline to Weights & Biases", runs=True)
    return whole


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    typed = parser().parse_args(arguments)
    typed.outputs = typed.outputs.expanduser().absolute()
    try:
        return _run(typed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head`
        sys.stdout = None
        return 0


def _run(typed: argparse.Namespace) -> int:
    if typed.command == "list":
        from crate.sweep.show import show_list

        return show_list(typed.outputs)
    if typed.command == "clean" and typed.sweep is None:
        from crate.sweep.clean import clean

        return clean(typed.outputs, yes=typed.yes)
    sweep = find_sweep(typed.outputs, typed.sweep)
    if typed.command == "results":
        from crate.sweep.results import show_results

        return show_results(sweep, form=typed.form)
    if typed.command == "cancel":
        from crate.sweep.cancel import cancel

        return cancel(sweep, typed.runs, yes=typed.yes)
    if typed.command == "retry":
        return _retry(sweep, typed)
    if typed.command == "clean":
        from crate.sweep.clean import clean_sweep

        return clean_sweep(sweep, yes=typed.yes)
    if typed.command == "sync":
        from crate.sweep.sync import sync

        return sync(sweep, typed.runs)
    from crate.sweep import show

    if typed.command == "status":
        return show.show_status(sweep, typed.runs, watch=typed.watch, as_json=typed.json)
    if typed.command == "path":
        return show.show_path(sweep, typed.runs)
    lines = typed.n if typed.command == "tail" else None
    follow = typed.command == "tail" and typed.follow
    return show.show_logs(sweep, typed.runs, lines=lines, follow=follow)


def _retry(sweep, typed: argparse.Namespace) -> int:
    from crate.sweep import retry
    from crate.sweep.state import UNFINISHED

    chosen = (retry.FAILED if typed.failed else ()) + (retry.LOST if typed.lost else ())
    return retry.retry(sweep, typed.runs, chosen or UNFINISHED, new_code=typed.new_code)


if __name__ == "__main__":
    sys.exit(main())
