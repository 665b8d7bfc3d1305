"""`python -m crate.sweep`: what it shows, what it removes, and what it leaves alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from crate.paths import CHECKOUT
from crate.run.provenance import cpu_name
from crate.sweep.__main__ import main
from crate.sweep.stored.folder import SweepFolder
from crate.sweep.stored.manifest import Manifest
from tests.launching import TINY, launch, status
from tests.sweep.asking import ask, only_sweep, runs
from tests.tracking.wandb_server import Server

ONE = (*TINY, "train.epochs=1", "schedule.warmup_epochs=0", "data.workers=0")


def made(outputs: Path, name: str = "lambda", fixed: tuple = (), number: int = 6) -> SweepFolder:
    """Write a sweep of three values, `number` of whose runs have ended; return it."""
    sweep = SweepFolder.create(outputs, name, list(fixed))
    points = {}
    for index in range(number):
        key = f"{abs(hash((name, fixed, index))):012x}"[:12]
        swept = {"model.sparsity": (0.02, 0.1, 0.5)[index % 3], "seed": index // 3}
        run = outputs / "runs" / f"crate-{key}"
        run.mkdir(parents=True)
        top1 = 70.0 + 10 * swept["model.sparsity"] + swept["seed"]
        status = {
            "state": "finished" if index % 6 != 5 else "failed",
            "reason": None if index % 6 != 5 else "RuntimeError: boom",
            "traceback": None if index % 6 != 5 else "Traceback\nRuntimeError: boom",
            "last": top1,
            "best": top1 + 1,
            "best_chosen_on": "the evaluation split",
            "step": 10,
            "total_steps": 10,
            "attempts": 1,
            "heartbeat": time.time(),
            "claim": None,
        }
        (run / "status.json").write_text(json.dumps(status))
        meta = {"fingerprint": "a" if index else "b", "auto": {"precision": "bf16"}}
        (run / "meta.json").write_text(json.dumps(meta))
        (run / "log").write_text("".join(f"line {line} of {key}\n" for line in range(20)))
        points[key] = {"overrides": [], "swept": swept, "attempts": [{"code": "c0de"}]}
    manifest = {
        "name": name,
        "fixed": list(fixed),
        "question": "Does [lambda] matter?",
        "metric": "val/top1",
        "baseline": {"model.sparsity": 0.1},
        "published": [{"model.sparsity": 0.5, "val/top1": 70.5}],
        "source": "CRATE-B",
        "launches": [{"time": time.time() - 7200, "launcher": "local"}],
        "points": points,
    }
    sweep.write_manifest(Manifest.from_json(manifest))
    return sweep


@pytest.fixture
def here(capsys):
    """Return a function that runs a command in this process, with the result of `ask`."""

    def run(outputs: Path, *words: str) -> subprocess.CompletedProcess:
        capsys.readouterr()
        code = main([f"--outputs={outputs}", *words])
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())

    return run


def test_results_are_means_over_seeds_with_their_standard_error(tmp_path, here):
    made(tmp_path)
    rows = json.loads(here(tmp_path, "results", "lambda", "--json").stdout)
    assert [row["model.sparsity"] for row in rows] == [0.02, 0.1, 0.5]
    assert [row["n"] for row in rows] == [2, 2, 1] and [row["runs"] for row in rows] == [2, 2, 2]
    assert rows[1]["last"] == pytest.approx(71.5) and rows[1]["best"] == pytest.approx(72.5)
    assert rows[1]["last_se"] == pytest.approx(0.5)  # sd of 71, 72 is 1 / sqrt 2, over sqrt 2
    assert rows[2]["last_se"] is None and rows[2]["published"] == 70.5
    assert [row["mixed"] for row in rows] == ["code", "", ""]
    done = here(tmp_path, "results", "lambda")
    assert done.returncode == 1  # one run failed
    for text in ("Does [lambda] matter?", "71.50 +- 0.50", "1/2", "mixed code", "baseline"):
        assert text in done.stdout, done.stdout
    assert "best chosen on the evaluation split" in done.stdout and "CRATE-B" in done.stdout
    csv = here(tmp_path, "results", "lambda", "--csv").stdout.splitlines()
    assert csv[0].startswith("model.sparsity,metric,n,runs,last") and len(csv) == 4


def test_results_and_commands_take_filters_in_any_order(tmp_path, capsys):
    made(tmp_path)
    elsewhere = ["--outputs", str(tmp_path)]
    for words in (
        ["results", "lambda", "sparsity=.10", "--json", *elsewhere],
        ["results", "--json", *elsewhere, "lambda", "model.sparsity=0.1"],
        [*elsewhere, "results", "--json", "lambda", "sparsity=0.1"],
    ):
        assert main(words) == 0, capsys.readouterr()
        (row,) = json.loads(capsys.readouterr().out)
        assert row["model.sparsity"] == 0.1 and row["n"] == 2


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["statsu", "lambda"], ["no command statsu; did you mean status?"]),
        (["lambda", "status"], ["type:    python -m crate.sweep status lambda"]),
        (["status", "lambda", "--wach"], ["does not take --wach", "allowed: --watch"]),
        (["results", "lambda", "sparsty=0.1"], ["does not vary sparsty", "allowed: sparsity"]),
        (["results", "lambda", "sparsity=0.4"], ["allowed: sparsity=0.5, 0.1", "sparsity=0.5"]),
        (["path", "lambda", "sparsity=0.1", "seed=0", "seed=1"], ["no run of the sweep is"]),
        (["xyzzy", "lambda"], ["no command xyzzy\n  allowed: list, status", "--help"]),
        (["tail", "lambda", "-n", "-3"], ["-n: -3 is not a number of lines", "tail --help"]),
        (["status"], ["status needs the name of a sweep", "crate.sweep status NAME"]),
        ([], ["no command was given", "list, status"]),
    ],
)
def test_an_error_names_the_nearest_word(words, messages, tmp_path, capsys):
    made(tmp_path)
    assert main([*words, "--outputs", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert all(message in shown for message in messages) and "Traceback" not in shown, shown


def test_tables_survive_markup_and_fit_80_columns(tmp_path):
    sweep = made(tmp_path, fixed=("model=vit_tiny", "data.root=/a/long/path/to/some/images"))
    question = "What does [/red] do [bold]here, in a question of many words, at 80 columns?"
    sweep.write_manifest(replace(sweep.manifest, question=question, baseline={}))
    for words in (["list"], ["status", "lambda"], ["results", "lambda"]):
        done = ask(tmp_path, *words, COLUMNS="80")
        assert not done.stderr and "Traceback" not in done.stdout, done
        lines = [line.rstrip() for line in done.stdout.splitlines()]
        assert max(len(line) for line in lines if "/runs/" not in line) <= 80, done.stdout
        assert words != ["list"] or "[/red]" in done.stdout
        for value in ("0.02", "0.1", "0.5") if words != ["list"] else ():
            assert value in done.stdout


def test_an_ambiguous_name_lists_the_candidates(tmp_path, here):
    first, second = made(tmp_path), made(tmp_path, fixed=("model=vit_tiny",))
    done = here(tmp_path, "status", "lambda")
    assert done.returncode == 2 and "2 sweeps are named lambda" in done.stderr
    assert f"{second.path.name}: model=vit_tiny" in done.stderr
    first.write_manifest(first.manifest)  # the newest now, so the one to type
    assert f"type:    {first.path.name}\n" in here(tmp_path, "status", "lambda").stderr
    second.write_manifest(second.manifest)
    assert f"type:    {second.path.name}\n" in here(tmp_path, "status", "lambda").stderr
    assert here(tmp_path, "status", first.path.name).returncode == 1
    wrong = here(tmp_path, "status", "lamda")
    assert wrong.returncode == 2 and "there is no sweep lamda" in wrong.stderr
    listed = here(tmp_path, "list").stdout
    assert listed.count("5 finished, 1 failed") == 2 and "2.0h ago" in listed
    assert "no sweep" in here(tmp_path / "empty", "list").stdout


def test_runs_are_named_by_their_values_or_signature(tmp_path, here):
    sweep = made(tmp_path)
    for words, number in (
        (("sparsity=0.1",), 2),
        (("model.sparsity=0.1", "seed=1"), 1),
        ((next(iter(sweep.manifest.points)),), 1),
    ):
        assert len(here(tmp_path, "path", "lambda", *words).stdout.splitlines()) == number, words
    wrong = here(tmp_path, "path", "lambda", "sparsity=7")
    assert wrong.returncode == 2 and "no run of the sweep is sparsity=7" in wrong.stderr
    shown = json.loads(here(tmp_path, "status", "lambda", "--json").stdout)
    first = next(iter(shown.values()))
    stored = json.loads((Path(first["folder"]) / "status.json").read_text())
    assert first["status"]["best"] == first["status"]["best_top1"] == stored["best"]
    tail = here(tmp_path, "tail", "lambda", "-n", "2").stdout
    assert tail.count("==>") == 6 and tail.count("line 19") == 6 and "line 17" not in tail
    assert here(tmp_path, "logs", "lambda", "seed=0", "sparsity=0.5").stdout.count("line") == 20
    assert (
        "RuntimeError: boom" in here(tmp_path, "status", "lambda", "sparsity=0.5", "seed=1").stdout
    )


def test_it_answers_without_torch_pandas_scipy_or_hydra(tmp_path):
    made(tmp_path)
    code = (
        "import sys; from crate.sweep.__main__ import main; "
        f"main(['--outputs', {str(tmp_path)!r}, *sys.argv[1:]]); "
        "heavy = {'torch', 'pandas', 'scipy', 'hydra', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    for words in (("list",), ("status", "lambda"), ("results", "lambda"), ("tail", "lambda")):
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
        assert done.returncode == 0, done.stderr


def test_clean_removes_a_sweep_but_no_run_of_another(tmp_path):
    first = made(tmp_path)
    key = next(iter(first.manifest.points))
    second = SweepFolder.create(tmp_path, "other", [])
    second.write_manifest(replace(first.manifest, points={key: first.manifest.points[key]}))
    for name in ("c0de", "unused"):
        (tmp_path / "code" / name).mkdir(parents=True)
    (tmp_path / "runs" / f"crate-{key}-old-1").mkdir()
    refused = ask(tmp_path, "clean", first.path.name, answer="\n")
    assert refused.returncode == 0 and "nothing was removed" in refused.stdout
    assert len(runs(tmp_path)) == 7
    done = ask(tmp_path, "clean", first.path.name, "--yes")
    assert "1 of its runs are kept for other sweeps" in done.stdout, done
    assert [run.name for run in runs(tmp_path)] == [f"crate-{key}", f"crate-{key}-old-1"]
    assert (tmp_path / "code" / "c0de").exists() and not first.path.exists()
    ask(tmp_path, "clean", "--yes")
    assert [run.name for run in runs(tmp_path)] == [f"crate-{key}"]
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["c0de"]


def test_retry_takes_the_frozen_configuration_and_new_code_where_asked(odd, tmp_path):
    outputs = tmp_path / "out"
    done = launch("-m", *odd, "model.kwargs.mode=error,fine", f"outputs={outputs}")
    assert done.returncode == 1 and "# 1 to run again" in done.stdout, done
    (tmp_path / "mine" / "model" / "odd.yaml").write_text("_target_: nothing.At\n")
    (tmp_path / "mended").touch()
    sweep = SweepFolder(outputs / "sweeps" / only_sweep(outputs))
    (code,) = (outputs / "code").iterdir()
    (code / "crate" / "tasks" / "train.py").chmod(0o644)
    (code / "crate" / "tasks" / "train.py").write_text("raise SystemExit('edited')")
    altered = ask(outputs, "retry", "mode")
    assert altered.returncode == 2 and "crate/tasks/train.py was altered" in altered.stderr, altered
    code.rename(code.with_name("gone"))
    gone = ask(outputs, "retry", "mode")
    assert gone.returncode == 2 and "--new-code" in gone.stderr, gone
    again = ask(outputs, "retry", "mode", "--failed", "--new-code")
    assert again.returncode == 0 and "1 to run again" in again.stdout, again
    assert {status(run)["state"] for run in runs(outputs)} == {"finished"}
    attempts = [len(point.attempts) for point in sweep.manifest.points.values()]
    assert sorted(attempts) == [1, 2]
    assert "0 to run again" in ask(outputs, "retry", "mode").stdout


def test_runs_on_wandb_have_their_own_names_and_name_no_machine(tmp_path):
    # wandb takes the name of the machine from WANDB_HOST, where that is set.
    offline = {"WANDB_API_KEY": "", "NETRC": "/nonexistent", "WANDB_HOST": "machine-of-mine"}
    words = (*ONE, "sweep=sparsity", "seed=7", "model.sparsity=0.1,0.5", "tracker=wandb")
    done = launch(*words, "tracker.tags=[mine]", f"outputs={tmp_path}", **offline)
    assert done.returncode == 0, done.stderr
    name = only_sweep(tmp_path)
    assert f"python -m crate.sweep sync {name}" in done.stdout
    assert "best run: sparsity=" in done.stdout and f"results {name}" in done.stdout
    assert "crate.sweep retry" not in done.stdout
    with Server() as server:
        done = ask(tmp_path, "sync", "sparsity", **server.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        uploaded = {run["displayName"]: run | {"id": key} for key, run in server.runs.items()}
        summaries = server.summary
        sent = b"".join(server.received)
    assert set(uploaded) == {"sparsity=0.1 seed=7", "sparsity=0.5 seed=7"}
    configs = {key: json.loads(run["config"]) for key, run in uploaded.items()}
    first, second = configs["sparsity=0.1 seed=7"], configs["sparsity=0.5 seed=7"]
    assert (first["sparsity"]["value"], second["sparsity"]["value"]) == (0.1, 0.5)
    assert first["swept"]["value"] == {"model.sparsity": 0.1, "seed": 7}
    assert first["published"]["value"] == {"val/top1": 70.8}
    assert second["published"]["value"] == {"val/top1": 70.5}
    assert {run["groupName"] for run in uploaded.values()} == {name}
    assert uploaded["sparsity=0.1 seed=7"]["tags"] == ["mine", "sparsity", "baseline"]
    assert uploaded["sparsity=0.5 seed=7"]["tags"] == ["mine", "sparsity"]
    for run in runs(tmp_path):
        assert run.name.startswith(
            ("crate_nano-sparsity0.1-seed7-", "crate_nano-sparsity0.5-seed7")
        )
        best = status(run)["best"]
        assert summaries[run.name.rpartition("-")[2]]["best/val/top1"] == best
        (file,) = run.glob("wandb/offline-run-*/*.wandb")
        sent += file.read_bytes()
    for machine in ("machine-of-mine", str(tmp_path), str(CHECKOUT), cpu_name(), "launch.py -m"):
        assert machine.encode() not in sent, machine
    again = launch(*words, "tracker.tags=[mine]", f"outputs={tmp_path}", **offline)
    assert "2 done" in again.stdout and "crate.sweep sync" not in again.stdout  # all is uploaded
    nothing = ask(tmp_path, "sync", "sparsity", "sparsity=7")
    assert nothing.returncode == 2
