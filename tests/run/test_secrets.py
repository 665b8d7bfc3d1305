"""A secret is redacted where people read it, refused in names, and kept where code reads it."""

from __future__ import annotations

import os
import stat

import pytest
from omegaconf import OmegaConf

from crate.config.schema import Sweep
from crate.errors import UserError
from crate.paths import CHECKOUT
from crate.run import secrets
from crate.run.claim import Claim
from crate.run.folder import RunFolder
from crate.run.records import read_json
from crate.run.secrets import file_mode, leaking_names, leaks, redact
from tests.launching import TINY, launch, run_folder

WORD = "trivialaugment"  # a value that a configuration needs, as a secret's


@pytest.fixture
def environment(monkeypatch):
    """Set variables for the test, as the only ones that are read for secrets."""

    def set_variables(**variables: str) -> None:
        monkeypatch.setattr(os, "environ", variables | {"NETRC": "/nonexistent"})
        secrets.known.cache_clear()

    yield set_variables
    secrets.known.cache_clear()


def test_paths_and_short_words_are_no_secrets(environment):
    environment(A_KEY=str(CHECKOUT), A_TOKEN="short", MY_PASSWORD="correct horse")
    values = [str(CHECKOUT), {"a": "short", "b": ("a correct horse", 3)}]
    assert redact(values) == [values[0], {"a": "short", "b": ("a <MY_PASSWORD>", 3)}]
    assert file_mode(values) == 0o600 and file_mode(values[0]) == 0o666


def test_a_secret_that_contains_another_leaves_nothing_behind(environment):
    environment(A_TOKEN="12345678", LONGER_TOKEN="1234567890")
    assert redact("x 1234567890 y 12345678") == "x <LONGER_TOKEN> y <A_TOKEN>"


def test_names_that_contain_a_secret_are_refused_by_key_and_variable(composed, environment):
    environment(A_KEY="hush-hush-hush")
    cfg = composed("tracker=wandb", "tracker.tags=[a,b]", "tracker.group=fine")
    assert leaking_names(cfg) == []
    for key, value in {
        "name": "x-hush-hush-hush",
        "tracker.tags": ["a", "hush-hush-hush"],
        "tracker.group": "hush-hush-hush",
        "tracker.name": "hush-hush-hush",
        "tracker.project": "hush-hush-hush",
    }.items():
        changed = cfg.copy()
        OmegaConf.update(changed, key, value)
        (error,) = leaking_names(changed)
        assert key in error.given and "A_KEY" in error.given and "hush" not in str(error)
    (error,) = leaks({"hydra.launcher.setup": ["export TOKEN=hush-hush-hush"]})
    assert "hydra.launcher.setup" in error.given and "hush" not in str(error)


def test_the_name_of_a_sweep_file_counts_unless_another_is_typed(composed, environment):
    cfg = composed()
    cfg.sweep = Sweep(name="hush-hush-hush")
    environment(A_KEY="hush-hush-hush")
    (error,) = leaking_names(cfg)
    assert error.fix.startswith("name=VALUE")
    cfg.name = "fine"
    assert leaking_names(cfg) == []


def test_a_failure_is_recorded_without_secrets_and_a_path_with_one_stays_a_path(
    tmp_path, environment
):
    environment(A_KEY="hush-hush-hush")
    claim = Claim(pool="/x/hush-hush-hush/pool.json")
    RunFolder(tmp_path).update_status(reason="no hush-hush-hush", traceback=None, claim=claim)
    status = read_json(tmp_path / "status.json")
    assert status["reason"] == "no <A_KEY>" and status["claim"] == claim.to_json()


def test_a_sweep_whose_values_equal_a_secret_runs_and_never_shows_them(tmp_path):
    words = (*TINY, "train.epochs=1", "data.workers=0", f"outputs={tmp_path}", f"augment={WORD}")
    environment = {"DEMO_KEY": WORD}
    refused = launch("-m", *words, f"name={WORD}", **environment)
    unknown = launch(*words, f"model={WORD}", **environment)
    assert refused.returncode == unknown.returncode == 1
    assert "name contains the value of the secret DEMO_KEY" in refused.stderr
    assert "<DEMO_KEY>" in unknown.stderr and WORD not in refused.stderr + unknown.stderr
    assert not (tmp_path / "sweeps").exists()
    done = launch("-m", *words, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = run_folder(tmp_path)
    assert read_json(folder / "status.json")["state"] == "finished" and WORD not in folder.name
    (point,) = (tmp_path / "sweeps").glob("*/points/*.json")
    best = folder / "checkpoints" / "best.pt"
    holding = {file for top in ("runs", "sweeps") for file in (tmp_path / top).rglob("*")}
    holding = {file for file in holding if file.is_file() and WORD.encode() in file.read_bytes()}
    assert holding == {point, *best.parent.iterdir()}
    assert {stat.S_IMODE(file.stat().st_mode) for file in holding} == {0o600}
    evaluated = launch("task=evaluate", f"checkpoint={best}", **environment)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "val/top1" in evaluated.stdout


def test_user_errors_are_raised_with_all_others(composed, environment):
    from crate.tasks.identity import prepare

    environment(A_KEY="hush-hush-hush")
    cfg = composed("tracker=wandb", "tracker.name=hush-hush-hush")
    with pytest.raises(UserError, match=r"tracker\.name contains the value of the secret A_KEY"):
        prepare(cfg)
