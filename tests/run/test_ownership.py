"""One process owns a live run folder, and the folder of a dead process is free."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from crate.errors import UserError
from crate.paths import CHECKOUT
from crate.run import records
from crate.run.ownership import STALE_S, Busy, Ownership, held, require_dead
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
    code = (
        "import sys, pathlib; from crate.run.ownership import Ownership; "
        "Ownership.take(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, cwd=CHECKOUT)
    assert Ownership.take(tmp_path).number == 2


def test_a_reused_process_number_is_not_taken_for_the_owner(tmp_path):
    Ownership.take(tmp_path)
    rewrite(tmp_path, started="1")
    assert Ownership.take(tmp_path).number == 2


def stamp(file, age_s):
    os.utime(file, (time.time() - age_s,) * 2)


@pytest.fixture
def short(monkeypatch):
    """Shorten the watch for other owners to half a second."""
    monkeypatch.setattr("crate.run.liveness.WATCH_S", 0.5)
    monkeypatch.setattr("crate.run.liveness.POLL_S", 0.01)


def test_another_hosts_owner_holds_until_its_file_is_old(tmp_path, short):
    Ownership.take(tmp_path)
    rewrite(tmp_path, host="elsewhere", heartbeat=0)  # whatever its clock says
    with pytest.raises(UserError, match="elsewhere"):
        Ownership.take(tmp_path)
    stamp(record(tmp_path)[0], STALE_S + 1)
    assert Ownership.take(tmp_path).number == 2


@pytest.mark.parametrize("age_s", [STALE_S + 300, -600, -30 * 86400], ids=["old", "ahead", "month"])
def test_a_wrong_clock_neither_frees_nor_blocks_a_folder(tmp_path, short, age_s):
    """Simulate machines whose clocks differ, on a file system where each stamps its own files."""
    owner = Ownership.take(tmp_path)
    rewrite(tmp_path, host="elsewhere", heartbeat=time.time() - age_s)
    file, stop = record(tmp_path)[0], threading.Event()
    stamp(file, age_s)

    def beat():
        while not stop.wait(0.05):
            stamp(file, age_s - 0.001 * next(beats))

    beats = iter(range(1, 10000))
    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.raises(Busy, match="elsewhere"):
        Ownership.take(tmp_path)
    stop.set()
    thread.join()
    assert Ownership.take(tmp_path).number == 2 and not owner.is_held()


def test_many_silent_owners_are_watched_together(tmp_path, monkeypatch, short):
    folders = [tmp_path / str(number) for number in range(5)]
    for folder in folders:
        folder.mkdir()
        Ownership.take(folder)
        rewrite(folder, host="elsewhere")
        stamp(record(folder)[0], STALE_S + 1)
    watches = []
    monkeypatch.setattr(
        "crate.run.liveness.logger", SimpleNamespace(info=lambda *x: watches.append(x))
    )
    require_dead(folders)
    assert [Ownership.take(folder).number for folder in folders] == [2] * 5 and len(watches) == 1


def test_a_process_that_hangs_here_keeps_its_folder_and_is_named(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as process:
        owner = Ownership.take(tmp_path)
        started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        rewrite(tmp_path, pid=process.pid, started=started)
        stamp(record(tmp_path)[0], STALE_S + 1)
        with pytest.raises(Busy, match=rf"(?s)hangs or is stopped.*kill {process.pid}"):
            Ownership.take(tmp_path)
        process.kill()
        process.wait()
        assert Ownership.take(tmp_path).number == 2 and not owner.is_held()


def test_the_same_pid_in_another_container_is_another_process(tmp_path):
    Ownership.take(tmp_path)
    rewrite(tmp_path, started="1", namespace="pid:[1]")  # here its pid would be that of a dead one
    with pytest.raises(Busy):
        Ownership.take(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"host": "x", "pid": "y"}', "7"])
def test_an_owner_file_that_names_nobody_holds_while_it_is_young(tmp_path, short, text):
    file = tmp_path / "owner-3.json"
    file.write_text(text)
    with pytest.raises(Busy, match=r"owner-3.json does not name"):
        Ownership.take(tmp_path)
    stamp(file, STALE_S + 1)
    assert Ownership.take(tmp_path).number == 4


def test_the_heartbeat_leaves_no_file_after_release(tmp_path, monkeypatch):
    """The release waits for a heartbeat that is being written."""
    writing, go_on = threading.Event(), threading.Event()
    replace_file = os.replace

    def slow(source, target):
        if threading.current_thread() is not threading.main_thread():
            writing.set()
            go_on.wait(5)
        replace_file(source, target)

    monkeypatch.setattr("crate.run.ownership.BEAT_S", 0.01)
    owner = Ownership.take(tmp_path)
    (tmp_path / ".owner-1.json.9.9.tmp").touch()  # of a killed one
    monkeypatch.setattr("os.replace", slow)
    owner.keep_alive(lambda: None, lambda: None)
    assert writing.wait(5)
    monkeypatch.setattr("crate.run.ownership.BEAT_S", 5.0)
    threading.Timer(0.1, go_on.set).start()
    owner.release()
    assert go_on.is_set() and record(tmp_path)[1]["released"]
    assert Ownership.take(tmp_path).number == 2
    assert [path.name for path in tmp_path.iterdir()] == ["owner-2.json"]


def test_a_requeued_job_takes_its_own_folder_back_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    Ownership.take(tmp_path)
    rewrite(tmp_path, host="elsewhere")
    with pytest.raises(UserError):  # the same job, not restarted: two processes of one job
        Ownership.take(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert Ownership.take(tmp_path).number == 2


def test_an_owner_that_was_replaced_no_longer_holds_its_folder(tmp_path, short):
    owner = Ownership.take(tmp_path)
    assert owner.is_held()
    rewrite(tmp_path, host="elsewhere")
    stamp(record(tmp_path)[0], STALE_S + 1)
    Ownership.take(tmp_path)
    assert not owner.is_held()
    owner.release()
    assert record(tmp_path)[0].name == "owner-2.json"
    assert not record(tmp_path)[1]["released"]


def take(folder, barrier, queue):
    barrier.wait()
    try:
        Ownership.take(folder)
        queue.put("owner")
    except UserError:
        queue.put("refused")
    barrier.wait()  # all stay alive until all have tried


@pytest.mark.parametrize("left_behind", [False, True], ids=["new folder", "after a dead owner"])
def test_only_one_of_many_processes_takes_a_folder(tmp_path, left_behind):
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
        outcomes = sorted(queue.get(timeout=60) for _ in processes)
        for process in processes:
            process.join()
        assert outcomes == ["owner"] + ["refused"] * 7


def test_an_owner_is_notified_when_its_folder_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("crate.run.ownership.BEAT_S", 0.01)
    owner, is_lost, beats = Ownership.take(tmp_path), threading.Event(), []
    owner.keep_alive(lambda: beats.append(1), lost=is_lost.set)
    while not beats:
        time.sleep(0.01)
    assert not is_lost.is_set()
    (tmp_path / "owner-2.json").write_text("{}")
    assert is_lost.wait(5)


def hold(folder, number, events):
    with held(folder, f"lock {number}"):
        events.put(("in", number))
        time.sleep(0.05)
        events.put(("out", number))


def test_only_one_process_holds_a_lock_at_a_time(tmp_path):
    context = multiprocessing.get_context("fork")
    events = context.Queue()
    processes = [context.Process(target=hold, args=(tmp_path / "new", n, events)) for n in range(5)]
    for process in processes:
        process.start()
    order = [events.get(timeout=60) for _ in range(10)]
    for process in processes:
        process.join()
    assert order[::2] == [("in", number) for _, number in order[1::2]]  # none between in and out
    assert sorted(number for _, number in order[1::2]) == [0, 1, 2, 3, 4]


def test_a_process_that_waits_for_a_lock_logs_it_once_and_gets_it_on_release(tmp_path, caplog):
    owner = Ownership.take(tmp_path)
    threading.Timer(1, owner.release).start()
    with caplog.at_level("INFO", "crate"), held(tmp_path, "the lock of a test"):
        assert not owner.is_held()
    assert [record.message for record in caplog.records] == ["waiting for the lock of a test"]
    assert Ownership.take(tmp_path).number == 3  # it was given back


def test_waiting_for_a_lock_times_out(tmp_path):
    Ownership.take(tmp_path)
    with pytest.raises(Busy, match=f"process {os.getpid()}"), held(tmp_path, "it", patience_s=0.3):
        raise AssertionError("has the lock of another")


def test_a_lock_that_cannot_be_written_is_an_error_with_what_to_type(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"(?s)cannot write to .*file/lock.*outputs=FOLDER"),
        held(tmp_path / "file" / "lock", "it", fix="outputs=FOLDER"),
    ):
        raise AssertionError("has a lock in a file")


@pytest.mark.slow
def test_a_run_that_slept_while_another_took_its_folder_writes_nothing_more(tmp_path, short):
    process = start(*TINY, "train.epochs=4000", "train.log_every_steps=1", f"outputs={tmp_path}")
    wait_for_step(process, tmp_path, 5)
    process.send_signal(signal.SIGSTOP)
    folder = run_folder(tmp_path)
    rewrite(folder, host="elsewhere")
    stamp(record(folder)[0], STALE_S + 1)
    Ownership.take(folder)
    process.send_signal(signal.SIGCONT)
    done = process.finish(timeout=60)
    assert done.returncode == 1 and "was taken over by another process" in done.stderr, done
    assert not list((folder / "checkpoints").glob("step-*.pt"))
    assert status(folder)["state"] == "running"


def test_an_owner_notices_that_the_folder_was_created_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    owner = Ownership.take(folder)
    assert owner.is_held()
    rewrite(folder, pid=1, started="1")  # another process is the first owner of a new folder
    assert not owner.is_held()
    owner.release()
    assert not record(folder)[1]["released"]


def test_a_file_server_that_fails_once_does_not_end_the_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setattr("crate.run.ownership.BEAT_S", 0.01)
    beats = threading.Semaphore(0)
    owner = Ownership.take(tmp_path)
    write, failures = records.write, iter([records.Unreadable("stale file handle")])

    def failing(*arguments):
        for error in failures:
            raise error
        write(*arguments)

    monkeypatch.setattr("crate.run.ownership.records.write", failing)
    owner.keep_alive(beat=beats.release, lost=lambda: None)
    assert beats.acquire(timeout=30)
    owner.release()
