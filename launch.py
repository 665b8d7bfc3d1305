"""Train, evaluate or export one configuration, or launch a sweep: `python launch.py --help`.

Imports no torch, so that help, checks and messages appear at once.
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from pathlib import Path
from typing import NoReturn, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from crate.config import schema
from crate.config.checks.tree import unresolved
from crate.config.commandline import config_dir, diagnose, reader, typed_paths
from crate.config.reference import help
from crate.config.reference.keys import walk
from crate.errors import UserError
from crate.ranks import Ranks, ReportedByRank0
from crate.run.secrets import redact
from crate.sweep.define import files as sweep_files
from crate.sweep.launchers import LAUNCHERS
from crate.tasks import registry


def fail(error: Exception) -> NoReturn:
    """Exit with the message of an error, without secrets."""
    sys.exit(f"error: {redact(str(error))}")


def _texts(overrides: list[str]) -> list[str]:
    """Return overrides as they were typed, with interpolations such as ${seed} left alone."""
    texts = OmegaConf.to_container(ListConfig(overrides), resolve=False)
    return cast(list[str], texts)


def _is_read() -> bool:
    """Return whether the standard output has a reader still, if it is a pipe."""
    output = select.poll()
    output.register(1, 0)
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0))


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Do the task of one configuration; return the number that a sweeper compares."""
    from crate.run.console import say_on_console
    from crate.tasks.request import Request

    hydra_config = HydraConfig.get()
    try:
        is_single = hydra_config.mode is RunMode.RUN
        if is_single:
            reader.require_no_launcher(_texts(hydra_config.overrides.hydra))
        ranks = Ranks.detect()
        say_on_console(ranks.is_first)
        choices, typed = dict(hydra_config.runtime.choices), _texts(hydra_config.overrides.task)
        request = Request(cfg, choices, typed, ranks, ends_process=is_single)
        return registry.find(cfg.task).run(request)
    except ReportedByRank0:
        sys.exit(1)
    except UserError as error:
        fail(error)
    except InterpolationResolutionError as error:
        fail(unresolved(str(error.full_key), error))
    except BrokenPipeError:  # `| head`, of a task that prints
        if _is_read():
            traceback.print_exc()
            sys.exit(1)
        sys.stdout = None  # so that nothing is flushed at exit
        sys.exit(0)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def complete(arguments: list[str]) -> list[str]:
    """Return the typed arguments as Hydra gets them, and register what they may choose from."""
    arguments = typed_paths.make_arguments_absolute(arguments, Path.cwd())
    reader.add_config_dir_to_path(arguments)
    sweep_files.register(config_dir.config_dirs(arguments))
    registry.register(arguments)
    launcher_keys = {
        key.name: [key]
        for kind in LAUNCHERS.values()
        for key in walk(kind.options_type, "hydra.launcher.")
    }
    return reader.read(arguments, launcher_keys)


if __name__ == "__main__":
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises to the handlers below
    schema.register()
    arguments = sys.argv[1:]
    try:
        if set(help.FLAGS) & set(arguments):  # Hydra's own help takes seconds
            print(help.answer(arguments, config_dir.config_dirs(arguments)), end="")
            sys.exit()
        arguments = complete(arguments)
        sys.argv[1:] = arguments  # Hydra reads them; records and jobs repeat them
        main()
    except Exception as error:  # composing failed, so nothing has started
        fail(diagnose.explain(error, arguments))
    except KeyboardInterrupt:
        print("stopped before training began", file=sys.stderr)
        sys.exit(130)
