"""Trackers lose no metric, leak no secret, and never block a run, whatever their server does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from crate.config.check import typed
from crate.config.schema import dump
from crate.errors import UserError
from crate.run.records import read_json
from crate.tracking.shown import shown
from tests.launching import TINY, Process, command, launch, run_folder, start, status, wait_for_step
from tests.tracking.wandb_server import KEY, Server

RUN = (*TINY, "train.epochs=1", "train.log_every_steps=1", "schedule.warmup_epochs=0")
WANDB = (*RUN, "tracker=wandb", "tracker.finish_timeout_s=9")
NO_KEY = {"WANDB_API_KEY": "", "NETRC": "/nonexistent"}


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def identity(folder: Path) -> str:
    return folder.name.rsplit("-", 1)[1]


def log_of(folder: Path) -> str:
    return (folder / "log").read_text()


def says(outputs: Path, words: str) -> bool:
    folder = run_folder(outputs)
    return folder is not None and (folder / "log").exists() and words in log_of(folder)


def sync(folder: Path, server: Server) -> None:
    """Upload the files of a run with the command that its log names last."""
    words = log_of(folder).rsplit("type: wandb ", 1)[1].splitlines()[0].split()
    wandb = str(Path(sys.executable).with_name("wandb"))
    environment = os.environ | server.environment
    words = [wandb, *words]
    subprocess.run(words, check=True, capture_output=True, cwd=folder, env=environment)


def killed_and_resumed(outputs: Path, *arguments: str, **environment: str) -> Path:
    """Return the folder of a run that was killed at step 15 and resumed from step 10."""
    words = (*arguments, "train.checkpoint_every_steps=10", f"outputs={outputs}")
    process = start(*words, **environment)
    wait_for_step(process, outputs, 15)
    process.send_signal(signal.SIGKILL)
    assert process.finish().returncode == -signal.SIGKILL
    assert launch(*words, "train.keep=3", **environment).returncode == 0
    assert "going on at step 10" in log_of(run_folder(outputs))
    return run_folder(outputs)


def test_offline_files_read_by_wandb_equal_metrics_jsonl(tmp_path):
    assert launch(*WANDB, f"outputs={tmp_path}", **NO_KEY).returncode == 0
    folder = run_folder(tmp_path)
    assert "offline as run" in log_of(folder) and "no API key" in log_of(folder)
    with Server() as server:
        sync(folder, server)
        assert server.rows(identity(folder)) == metrics(folder)


def test_online_the_server_has_the_run_and_its_rows(tmp_path):
    words = (
        "tracker.group=lambda",
        "tracker.tags=[digits,first]",
        "+tracker.swept={model.sparsity: 0.1}",
        "tracker.project=crate",
    )
    with Server() as server:
        done = launch(*WANDB, *words, f"outputs={tmp_path}", **server.environment)
        assert done.returncode == 0, done.stderr
        folder = run_folder(tmp_path)
        run = server.runs[identity(folder)]
        assert server.rows(identity(folder)) == metrics(folder)
    assert (run["groupName"], run["jobType"]) == ("lambda", "train")
    assert run["tags"] == ["digits", "first"] and run["project"] == "crate"
    assert f"{run['displayName']}-{identity(folder)}" == folder.name
    config = {key: entry["value"] for key, entry in json.loads(run["config"]).items()}
    assert run["program"] == "launch.py" and not {"host", "repo", "commit"} & run.keys()
    assert config["model"]["embed_dim"] == 16 and config["swept"] == {"model.sparsity": 0.1}


def test_a_killed_run_resumes_under_its_id(tmp_path):
    with Server() as server:
        folder = killed_and_resumed(tmp_path, *WANDB, **server.environment)
        assert set(server.runs) == {identity(folder)}
        assert json.loads(server.runs[identity(folder)]["config"])["train"]["value"]["keep"] == 3
        latest = {(row["step"], "lr" in row): row for row in server.rows(identity(folder))}
    assert list(latest.values()) == metrics(folder)


def test_a_run_killed_offline_leaves_two_folders_under_one_id_the_second_with_all(tmp_path):
    folder = killed_and_resumed(tmp_path, *WANDB, **NO_KEY)
    assert len(list(folder.glob(f"wandb/offline-run-*-{identity(folder)}"))) == 2
    with Server() as server:
        sync(folder, server)
        assert set(server.runs) == {identity(folder)}
        assert server.rows(identity(folder)) == metrics(folder)


@pytest.mark.parametrize("behaviour", ["hangs", "fails"])
def test_a_server_out_of_order_costs_a_run_nothing(behaviour, tmp_path):
    words = (*WANDB, "tracker.mode=online", "tracker.queue_size=4", f"outputs={tmp_path}")
    with Server(behaviour) as server:
        begun = time.monotonic()
        assert launch(*words, **server.environment).returncode == 0
        assert time.monotonic() - begun < 30
    folder = run_folder(tmp_path)
    assert len(metrics(folder)) == 24 and status(folder)["state"] == "finished"
    assert "4 rows are waiting; rows are dropped" in log_of(folder)
    assert "online failed" in log_of(folder) and "of 24 rows dropped" in log_of(folder)


def test_auto_goes_offline_if_no_server_answers(tmp_path):
    with Server("hangs") as server:
        assert launch(*WANDB, f"outputs={tmp_path}", **server.environment).returncode == 0
    assert "offline as run" in log_of(run_folder(tmp_path))
    assert "no answer from http://127.0.0.1" in log_of(run_folder(tmp_path))


def test_a_server_that_dies_costs_a_run_nothing(tmp_path):
    words = (*WANDB, "train.epochs=4", f"outputs={tmp_path}")
    with Server("dies") as server:
        begun = time.monotonic()
        assert launch(*words, **server.environment).returncode == 0
        assert time.monotonic() - begun < 60 and server.behaviour == "dead"
    folder = run_folder(tmp_path)
    assert len(metrics(folder)) == 4 * 24 and status(folder)["state"] == "finished"
    assert "not all was uploaded" in log_of(folder)
    with Server() as another:
        sync(folder, another)
        assert another.rows(identity(folder)) == metrics(folder)


def test_a_wandb_process_that_stalls_costs_a_run_nothing(tmp_path):
    options = (*WANDB, "train.epochs=4", "tracker.finish_timeout_s=2", f"outputs={tmp_path}")
    process, children = started_offline(tmp_path, *options)
    os.kill(children[0], signal.SIGSTOP)
    assert process.finish(60).returncode == 0
    folder = run_folder(tmp_path)
    assert len(metrics(folder)) == 4 * 24 and status(folder)["state"] == "finished"
    assert "not done after 2 s" in log_of(folder) and "of 96 rows dropped" in log_of(folder)
    until = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < until, "a process of wandb was left behind"
        time.sleep(0.05)


@pytest.mark.parametrize("which", [0, 1])
def test_a_wandb_process_that_dies_is_started_again_and_has_all(which, tmp_path):
    words = (*WANDB, "train.epochs=4", f"outputs={tmp_path}")
    process, children = started_offline(tmp_path, *words)
    os.kill(children[which], signal.SIGTERM)
    assert process.finish(60).returncode == 0
    folder = run_folder(tmp_path)
    assert "its process ended" in log_of(folder) and "rows dropped" not in log_of(folder)
    with Server() as server:
        sync(folder, server)
        assert server.rows(identity(folder)) == metrics(folder)


def started_offline(outputs: Path, *words: str) -> tuple[Process, list[int]]:
    """Return a run whose rows wandb accepts, and the two processes of wandb."""
    process = start(*words, **NO_KEY)
    while process.is_running() and not says(outputs, "offline as run"):
        time.sleep(0.01)
    children = wandb_processes(process.pid)
    assert len(children) == 2  # ours, and wandb's own below it
    return process, children


def wandb_processes(pid: int) -> list[int]:
    """Return the processes of wandb below that of a run, the upper one first."""
    processes = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        if b"wandb" in Path(f"/proc/{child}/cmdline").read_bytes():
            processes += [child, *wandb_processes(child)]
    return processes


def test_ctrl_c_stops_the_run_and_leaves_wandb_to_it(tmp_path):
    words = command(*WANDB, "train.epochs=200", f"outputs={tmp_path}")
    # As in a terminal: Ctrl-C goes to all processes of the group.
    process = subprocess.Popen(words, start_new_session=True, env=os.environ | NO_KEY)
    while process.poll() is None and not says(tmp_path, "offline as run"):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    folder = run_folder(tmp_path)
    assert "rows dropped" not in log_of(folder)
    with Server() as server:
        sync(folder, server)
        assert server.rows(identity(folder)) == metrics(folder)


def test_an_api_key_is_in_no_file_of_a_run(tmp_path):
    environment = {"MY_SECRET": "a-very-secret-word"}
    words = (*WANDB, "+tracker.swept.word=a-very-secret-word", f"+tracker.published.key={KEY}")
    with Server() as server:
        done = launch(*words, f"outputs={tmp_path}", **environment, **server.environment)
    assert done.returncode == 0
    folder = run_folder(tmp_path)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert any(file.suffix == ".wandb" for file in files)
    for secret in (KEY.encode(), b"a-very-secret-word"):
        assert not [file for file in files if secret in file.read_bytes()]
        assert secret not in (done.stdout + done.stderr).encode()
    assert "+tracker.swept.word=<MY_SECRET>" in read_json(folder / "meta.json")["command"]


def test_tensorboard_reads_what_metrics_jsonl_holds(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = killed_and_resumed(tmp_path, *RUN, "tracker=tensorboard")
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    logged = {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    expected: dict[str, list] = {}
    for row in metrics(folder):
        step = row.pop("step")
        for name, value in row.items():
            expected.setdefault(name, []).append((step, pytest.approx(value, rel=1e-6)))
    assert logged == expected


def test_a_server_gets_the_keys_of_a_configuration_and_nothing_that_storing_it_adds(composed):
    config = typed(composed("init_from=/somewhere/best.pt"))
    sent = shown(dump(config))
    assert sent.keys() == asdict(config).keys() - {"outputs"}
    assert sent["init_from"] == "best.pt"


@pytest.mark.parametrize("package", ["wandb", "tensorboard"])
def test_a_missing_package_is_an_error_before_the_run_starts(package, composed, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)  # Python's way to say: cannot be imported
    with pytest.raises(UserError, match=f"pip install {package}"):
        typed(composed(f"tracker={package}"))
