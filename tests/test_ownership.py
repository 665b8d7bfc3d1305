"""One process owns a live run folder, and a dead one's folder is free."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from crate.config.check import CHECKOUT
from crate.config.errors import UserError
from crate.ownership import STALE_S, Ownership
from tests.launching import TINY, run_folder, start, status, wait_for_step


def record(folder):
    (file,) = folder.glob("owner-*.json")
    return file, json.loads(file.read_text())


def rewrite(folder, **values):
    file, owner = record(folder)
    file.write_text(json.dumps(owner | values))


def test_a_second_process_is_refused_by_name_until_the_first_releases(tmp_path):
    owner = Ownership.take(tmp_path)
    with pytest.raises(UserError, match=f"process {os.getpid()} on"):
        Ownership.take(tmp_path)
    owner.release()
    assert Ownership.take(tmp_path).number == 2


def test_the_folder_of_a_dead_process_is_free(tmp_path):
    code = "import sys, pathlib, crate.ownership as o; o.Ownership.take(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, cwd=CHECKOUT)
    assert Ownership.take(tmp_path).number == 2


def test_a_reused_process_number_is_not_taken_for_the_owner(tmp_path):
    Ownership.take(tmp_path)
    rewrite(tmp_path, started="1")
    assert Ownership.take(tmp_path).number == 2


def test_another_hosts_owner_holds_until_its_heartbeat_is_old(tmp_path):
    Ownership.take(tmp_path)
    rewrite(tmp_path, host="elsewhere")
    with pytest.raises(UserError, match="elsewhere"):
        Ownership.take(tmp_path)
    rewrite(tmp_path, heartbeat=time.time() - STALE_S - 1)
    assert Ownership.take(tmp_path).number == 2


def test_a_requeued_job_takes_its_own_folder_back_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    Ownership.take(tmp_path)
    rewrite(tmp_path, host="elsewhere")
    with pytest.raises(UserError):  # the same job, not restarted: two processes of one job
        Ownership.take(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert Ownership.take(tmp_path).number == 2


def test_an_owner_that_was_replaced_knows(tmp_path):
    owner = Ownership.take(tmp_path)
    assert owner.is_held()
    rewrite(tmp_path, host="elsewhere", heartbeat=0)
    Ownership.take(tmp_path)
    assert not owner.is_held()
    owner.release()
    assert record(tmp_path)[0].name == "owner-2.json"
    assert "released" not in record(tmp_path)[1]


def take(folder, barrier, queue):
    barrier.wait()
    try:
        Ownership.take(folder)
        queue.put("owner")
    except UserError:
        queue.put("refused")
    barrier.wait()  # all stay alive until all have tried


@pytest.mark.parametrize("left_behind", [False, True], ids=["new folder", "after a dead owner"])
def test_of_many_that_try_at_once_one_succeeds(tmp_path, left_behind):
    context = multiprocessing.get_context("spawn")
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if left_behind:
            Ownership.take(folder)
            rewrite(folder, started="1")
        barrier, queue = context.Barrier(8), context.Queue()
        processes = [context.Process(target=take, args=(folder, barrier, queue)) for _ in range(8)]
        for process in processes:
            process.start()
        found = sorted(queue.get(timeout=60) for _ in processes)
        for process in processes:
            process.join()
        assert found == ["owner"] + ["refused"] * 7


def test_an_owner_whose_folder_was_taken_meanwhile_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("crate.ownership.BEAT_S", 0.01)
    owner, told, beats = Ownership.take(tmp_path), threading.Event(), []
    owner.keep_alive(lambda: beats.append(1), lost=told.set)
    while not beats:
        time.sleep(0.01)
    assert not told.is_set()
    (tmp_path / "owner-2.json").write_text("{}")
    assert told.wait(5)


@pytest.mark.slow
def test_a_run_that_slept_while_another_took_its_folder_writes_nothing_more(tmp_path):
    process = start(*TINY, "train.epochs=4000", "train.log_every_steps=1", f"outputs={tmp_path}")
    wait_for_step(process, tmp_path, 5)
    process.send_signal(signal.SIGSTOP)
    folder = run_folder(tmp_path)
    rewrite(folder, heartbeat=time.time() - STALE_S - 1)
    Ownership.take(folder)
    process.send_signal(signal.SIGCONT)
    done = process.finish(timeout=60)
    assert done.returncode == 1 and "was taken over by another process" in done.stderr, done
    assert not list((folder / "checkpoints").glob("step-*.pt"))
    assert status(folder)["state"] == "running"
