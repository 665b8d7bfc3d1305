"""Behaviour of every launcher: refusals, plans, budgets, other sweepers, other plugins."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields

import pytest

from crate.paths import CHECKOUT
from crate.run.records import read_json
from crate.sweep.launchers.local import LocalLauncher
from crate.sweep.launchers.shares import environments
from crate.sweep.launchers.slurm import SlurmLauncher
from crate.sweep.options import Local, Slurm
from tests.launching import TINY, launch, status
from tests.sweep.asking import ask, only_sweep, runs

ONE = (*TINY, "train.epochs=1", "schedule.warmup_epochs=0", "data.workers=0")

SWEEPER = '''
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


class Climber(Sweeper):
    """Two rounds: the better of two values, then thrice that; as sweepers of other people do."""

    def __init__(self, key):
        self.key = key

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        values = [0.1, 0.2]
        done = self.launcher.launch([[*arguments, f"{self.key}={v}"] for v in values], 0)
        results = [result.return_value for result in done]
        best = values[results.index(max(results))]
        (last,) = self.launcher.launch([[*arguments, f"{self.key}={3 * best}"]], 2)
        print("climbed", *results, last.return_value)


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="climber",
    node={"_target_": "hydra_plugins.climber.Climber", "key": "model.sparsity"},
)
'''


def own_process(*words, **environment):
    """Run launch.py in a new interpreter, which finds plugins by its own path."""
    import os

    command = [sys.executable, str(CHECKOUT / "launch.py"), *words]
    env = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


def refusal(*words, **environment):
    done = launch(*words, **environment)
    assert done.returncode == 1 and not done.stdout, done
    assert "Traceback" not in done.stderr and done.stderr.startswith("error: ")
    return done.stderr


def test_what_a_launcher_cannot_do_is_refused_by_name(tmp_path):
    out = f"outputs={tmp_path}"
    assert "python launch.py -m" in refusal("hydra/launcher=slurm", out)
    assert "is for a sweep" in refusal("hydra.launcher.plan=true", out)
    assert "type:    hydra/launcher=slurm" in refusal("-m", "hydra/launcher=submitit_slurm", out)
    assert "did you mean hydra.launcher.slots" in refusal("-m", "hydra.launcher.slot=2", out)
    assert "hydra.launcher.slots=0 is out of range" in refusal("-m", "hydra.launcher.slots=0", out)
    assert "hydra/launcher=basic" in refusal("-m", "task=evaluate", "checkpoint=/x", out)
    assert "there is no Slurm here" in refusal("-m", "hydra/launcher=slurm", out, PATH="/bin")
    assert "sweep has no option nope" in refusal("sweep=nope", out)
    assert "a job starts 1" in refusal("-m", "ranks=2", "seed=0,1", out)
    assert "name= is for a sweep" in refusal("name=x", out)
    assert not any(tmp_path.iterdir())
    assert "hydra/sweeper=crate" in refusal("-m", "sweep=demo", "hydra/sweeper=basic", out)
    assert not (tmp_path / "runs").exists()


def unwrapped(text: str) -> str:
    """Return text without the line breaks that fit it to the terminal."""
    return " ".join(text.split())


def test_a_plan_starts_nothing_and_its_estimate_names_its_source(tmp_path):
    words = ("-m", *ONE, "seed=0,1", f"outputs={tmp_path}")
    plan = "hydra.launcher.plan=true"
    unknown = launch(*words, plan)
    assert unknown.returncode == 0 and "2 to run, cost unknown" in unknown.stdout, unknown
    assert "3,194" in unknown.stdout and not any(tmp_path.iterdir())
    assert "cost of the runs is not known" in refusal(*words, "hydra.launcher.budget_h=1")
    rate = launch(*words, plan, "hydra.launcher.tflops=0.001")
    assert "FLOPs at 0.001 TFLOP/s" in unwrapped(rate.stdout)
    limit = launch(*words, plan, "hydra/launcher=slurm", "hydra.launcher.timeout_min=30")
    assert "time limit" in limit.stdout and "about 1 device-hours" in limit.stdout
    assert launch(*ONE, "seed=0", f"outputs={tmp_path}").returncode == 0
    switched = ("hydra.launcher.timeout_min=60", "hydra.launcher.partition=gpu")
    measured = launch(*words, plan, *switched, "hydra.launcher.cpus_per_task=1")
    assert "hydra/launcher=local ignores timeout_min, partition\n" in measured.stdout
    assert "1 finished, 1 new" in measured.stdout
    assert "measured in 1 run on" in unwrapped(measured.stdout)
    other = launch(*words, plan, "model.depth=3")
    source = "scaled by FLOPs from another shape, measured in 1 run on"
    assert source in unwrapped(other.stdout), other
    assert "2 to run, about" in other.stdout
    assert "need about" in refusal(*words, "hydra.launcher.budget_h=1e-9")
    assert "time limit" in launch(*words, plan, "hydra/launcher=slurm").stdout


def test_every_launcher_takes_the_options_of_all():
    given = dict(threads=3, cpus_per_task=2, slots=1, setup=["x"], name="a", nodes=2)
    assert LocalLauncher(Local(**given)).ignored([]) == ["name", "nodes", "setup"]
    assert SlurmLauncher(Slurm(**given)).ignored([]) == ["slots"]
    typed = ["hydra.launcher.nodes=1", "++hydra.launcher.qos=null"]
    assert LocalLauncher(Local()).ignored(typed) == ["nodes", "qos"]
    assert environments(Local(cpus_per_task=2), 1, on_cpu=True)[0]["OMP_NUM_THREADS"] == "2"
    assert {entry.name for entry in fields(Local)} == {entry.name for entry in fields(Slurm)}


def test_a_sweeper_of_other_people_gets_its_results(tmp_path):
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "climber.py").write_text(SWEEPER)
    words = ("-m", *ONE, "hydra/sweeper=climber", "seed=3", f"outputs={tmp_path / 'out'}")
    done = own_process(*words, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("climbed")]
    bests = sorted(status(run)["best"] for run in runs(tmp_path / "out"))
    assert sorted(float(word) for word in line.split()[1:]) == bests and len(bests) == 3
    assert only_sweep(tmp_path / "out").startswith("sparsity-")


def test_hydras_own_sweeper_and_launcher_still_work(tmp_path):
    words = ("-m", *ONE, "seed=0,1", f"outputs={tmp_path / 'out'}")
    assert launch(*words, "hydra/sweeper=basic").returncode == 0
    basic = launch(*words, "hydra/sweeper=basic", "hydra/launcher=basic", cwd=tmp_path)
    assert basic.returncode == 0 and basic.stdout.count("done already") == 2, basic


def test_the_stock_plugin_of_submitit_does_not_replace_ours(tmp_path):
    from hydra.core.plugins import Plugins

    plugins = {f"{kind.__module__}.{kind.__name__}" for kind in Plugins.instance().discover()}
    stock = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    assert {stock, "hydra_plugins.crate_launchers.SlurmLauncher"} <= plugins
    done = launch("--cfg", "hydra", "hydra/launcher=slurm")
    assert "_target_: hydra_plugins.crate_launchers.SlurmLauncher" in done.stdout
    assert "submitit_slurm" in refusal("-m", "hydra/launcher=submitit_slurm", f"outputs={tmp_path}")


def test_the_example_of_a_site_in_slurm_yaml_is_one(tmp_path):
    text = (CHECKOUT / "conf/hydra/launcher/slurm.yaml").read_text()
    lines = [line[4:] for line in text.splitlines() if line.startswith("#   ")]
    example = "\n".join(line for line in lines if not line.startswith("python"))
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "hydra" / "launcher" / "site.yaml").write_text(example)
    words = (f"--config-dir={tmp_path}", "-m", "hydra/launcher=site", "train.batch_size=64")
    done = launch(*words, "hydra.launcher.plan=true", f"outputs={tmp_path}")
    # 24 hours on one machine of four ranks.
    assert done.returncode == 0 and "about 96 device-hours" in done.stdout, done
    (tmp_path / "hydra" / "launcher" / "site.yaml").write_text(example + "\nqoss: long\n")
    assert "qoss" in refusal(*words, f"outputs={tmp_path}")


def test_rerun_sets_aside_and_trains_each_point_once_more(tmp_path):
    words = ("-m", *ONE, "seed=0,1", f"outputs={tmp_path}")
    assert launch(*words).returncode == 0
    plan = launch(*words, "rerun=true", "hydra.launcher.plan=true")
    assert "2 runs: 2 new" in plan.stdout and len(runs(tmp_path)) == 2, plan
    assert "device-hours" in refusal(*words, "rerun=true", "hydra.launcher.budget_h=1e-9")
    assert len(runs(tmp_path)) == 2, "a launch that is refused sets nothing aside"
    done = launch(*words, "rerun=true")
    assert done.returncode == 0 and done.stdout.count("set aside") == 2, done
    assert "2 to run" in done.stdout and len(runs(tmp_path)) == 4
    manifest = read_json(tmp_path / "sweeps" / only_sweep(tmp_path) / "manifest.json")
    assert [len(point["attempts"]) for point in manifest["points"].values()] == [2, 2]
    listed = ask(tmp_path, "clean", answer="y\n")
    assert listed.returncode == 0 and listed.stdout.count("set aside") == 2, listed
    assert len(runs(tmp_path)) == 2


def test_a_relative_path_of_an_own_target_is_that_of_the_launch(odd, tmp_path):
    words = ("-m", *odd, "model.kwargs.mode=error", "model.kwargs.mended=here")
    (tmp_path / "here").touch()
    done = launch(*words, f"outputs={tmp_path / 'out'}", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_demo_is_eight_runs_or_more(tmp_path):
    done = launch("sweep=demo", f"outputs={tmp_path}")
    assert done.returncode == 0, done
    rows = json.loads(ask(tmp_path, "results", "demo", "--json").stdout)
    assert sum(row["n"] for row in rows) == len(runs(tmp_path)) >= 8
    assert all(row["last"] > 85 and row["last_se"] is not None for row in rows)
