"""A new launcher takes one module, one row and one YAML file, and then works with every command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crate.paths import CHECKOUT
from crate.run.claim import Claim, JobId
from crate.run.folder import RunFolder
from tests.launching import TINY
from tests.sweep.asking import runs, wait_until

MODULE = '''
"""Runs each point in a process that the launch leaves behind; the name of a job is its pid."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from crate.config.schema import option
from crate.sweep.launchers.launcher import JobState, Launcher, Phase
from crate.sweep.options import LauncherOptions, PoolOptions, SlurmOptions


@dataclass
class QueueOptions:
    queue: str = option("short", "the queue of the jobs")


@dataclass
class Detached(QueueOptions, SlurmOptions, PoolOptions, LauncherOptions):
    _target_: str = option("hydra_plugins.crate_launchers.DetachedLauncher", "the plugin's class")


class DetachedLauncher(Launcher[Detached]):
    name = "detached"
    options_type = Detached
    own_options = (QueueOptions,)

    @property
    def time_limit_h(self):
        return {"short": 1.0, "long": 24.0}[self.options.queue]

    def submit(self, request):
        for key, code in request.todo.items():
            script = (
                'CRATE_JOB=$$ exec "$@" > "$0/jobs/$$_0_log.out" 2>&1'  # the shell becomes the job
            )
            words = [sys.executable, "-m", "crate.sweep.job", str(request.sweep.path), key]
            process = subprocess.Popen(
                ["sh", "-c", script, str(request.sweep.path), *words],
                cwd=code,
                env=os.environ | {"CRATE_LAUNCHER": self.name},
                start_new_session=True,
            )
            yield {key: str(process.pid)}

    @classmethod
    def states(cls, jobs):
        return {job: JobState(Phase.WORKING if _lives(job) else Phase.UNKNOWN) for job in jobs}

    @classmethod
    def cancel(cls, jobs):
        for job in filter(_lives, jobs.values()):
            os.kill(int(job), signal.SIGINT)


def _lives(job):
    try:
        return Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
'''
ROW = ('"slurm": SlurmLauncher', '"slurm": SlurmLauncher, "detached": DetachedLauncher')
IMPORT = "from crate.sweep.launchers.detached import DetachedLauncher\n"
YAML = "defaults: [/schema/launcher/Detached@_here_, _self_]\n"


@pytest.fixture
def overlay(tmp_path):
    """Return a copy of the checkout in which the launcher was added."""
    folder = tmp_path / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True)
    for name in listed.stdout.split("\0"):
        if name.startswith(("crate/", "conf/", "hydra_plugins/", "launch.py")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, folder / name)
    launchers = folder / "crate" / "sweep" / "launchers"
    (launchers / "detached.py").write_text(MODULE)
    table = launchers / "__init__.py"
    assert ROW[0] in table.read_text()
    line = "from crate.sweep.launchers.launcher import"
    table.write_text(table.read_text().replace(*ROW).replace(line, IMPORT + line))
    (folder / "conf" / "hydra" / "launcher" / "detached.yaml").write_text(YAML)
    return folder


class Checkout:
    """The commands of a copy of the checkout, run as a user runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.outputs = folder, folder / "outputs"

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            timeout=300,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout + done.stderr

    def launch(self, *words: str) -> str:
        chosen = ("-m", "hydra/launcher=detached", "name=mine", "data.workers=0")
        return self("launch.py", *chosen, *TINY, *words)

    def ask(self, *words: str) -> str:
        return self("-m", "crate.sweep", *words)

    def states(self) -> dict[str, str]:
        listed = json.loads(self.ask("status", "mine", "--json"))
        return {str(run["swept"]["seed"]): run["state"] for run in listed.values()}


@pytest.mark.slow
def test_a_new_launcher_takes_one_module_one_row_and_one_file(overlay):
    checkout = Checkout(overlay)
    words = ("seed=0,1", "train.epochs=1000", "train.log_every_steps=1")
    planned = checkout.launch(*words, "hydra.launcher.plan=true", "hydra.launcher.queue=long")
    assert "about 48 device-hours" in planned, planned
    ignored = checkout.launch(*words, "hydra.launcher.plan=true", "hydra.launcher.slots=2")
    assert "hydra/launcher=detached ignores slots" in ignored
    refused = checkout.launch(*words, "ranks=2")
    assert "ranks=2, and a job starts 1" in refused and not checkout.outputs.exists()

    begun = checkout.launch(*words)
    assert "0 done, 0 at work already, 2 to run, as detached job " in begun, begun
    try:
        wait_until(lambda: set(checkout.states().values()) == {"running"})
        for run in runs(checkout.outputs):
            claim = RunFolder(run).status.claim
            assert isinstance(claim, Claim) and isinstance(claim.job_id, JobId)
            assert claim.job_id.launcher == "detached" and claim.job_id.name in begun
        assert "2 at work already, 0 to run" in checkout.launch(*words)
        assert "_0_log.out" in checkout.ask("logs", "mine", "seed=0")
        assert "1 runs end" in checkout.ask("cancel", "mine", "seed=0", "--yes")
        wait_until(lambda: checkout.states() == {"0": "cancelled", "1": "running"})
        again = checkout.ask("retry", "mine")
        assert "1 to run again, as detached job " in again, again
        wait_until(lambda: checkout.states() == {"0": "running", "1": "running"})
    finally:
        assert "runs end" in checkout.ask("cancel", "mine", "--yes")
    wait_until(lambda: set(checkout.states().values()) == {"cancelled"})


def test_every_row_is_named_by_its_launcher():
    from crate.sweep.launchers import LAUNCHERS

    for name, kind in LAUNCHERS.items():
        assert kind.name == name
        target = kind.options_type._target_
        assert target == f"hydra_plugins.crate_launchers.{kind.options_type.__name__}Launcher"
        yaml = CHECKOUT / "conf" / "hydra" / "launcher" / f"{kind.name}.yaml"
        assert f"/schema/launcher/{kind.options_type.__name__}@_here_" in yaml.read_text()
