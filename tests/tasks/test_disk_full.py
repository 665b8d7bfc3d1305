"""A full disk costs a run only the files that could not be written in the meantime."""

from __future__ import annotations

import os
import subprocess

import pytest
import torch

from crate.train.checkpoints.checkpoint import write
from tests.launching import TINY, launch, metrics, run_folder, start, status, wait_for_step

RUN = (*TINY, "train.epochs=12", "train.log_every_steps=1", "train.checkpoint_every_steps=5")


@pytest.fixture
def disk(tmp_path):
    """Mount a disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk):
    """Fill the free space of the disk."""
    with open(disk / "filler", "wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


def wait_until_logged(process, text):
    while process.is_running() and text not in process.out.read_text():
        pass


def test_a_checkpoint_that_does_not_fit_on_the_disk_reports_its_error(disk):
    """torch raises RuntimeError, not OSError, when a record is larger than the file's buffer."""
    for values in ({"text": "x" * 3_000_000}, {"model": torch.zeros(1_000_000)}):
        with pytest.raises(OSError, match="No space left on device"):
            write(disk / "a.pt", values)
        assert not list(disk.iterdir())


def test_a_run_continues_while_the_disk_is_full_for_a_while(disk, tmp_path):
    assert launch(*RUN, f"outputs={tmp_path / 'reference'}").returncode == 0
    process = start(*RUN, f"outputs={disk}")
    wait_for_step(process, disk, 20)
    fill(disk)
    wait_until_logged(process, "is not saved: No space left on device")
    os.unlink(disk / "filler")
    done = process.finish()
    assert done.returncode == 0 and "is not saved" in done.stdout, done
    assert "Traceback" not in done.stdout + done.stderr
    folder = run_folder(disk)
    assert metrics(folder) == metrics(run_folder(tmp_path / "reference"))
    assert status(folder)["state"] == "finished" and "MB)" in done.stdout
    assert len(list((folder / "checkpoints").glob("*.pt"))) == 3
    assert not list(folder.rglob("*.tmp"))


def test_a_disk_that_stays_full_ends_the_run_with_a_message_and_the_run_resumes_later(disk):
    process = start(*RUN, f"outputs={disk}")
    wait_for_step(process, disk, 20)
    fill(disk)
    done = process.finish()
    reasons = ("could not be saved in", f"the disk of {disk} is full")  # the state, or the curve
    assert done.returncode == 1 and any(text in done.stderr for text in reasons), done
    assert "Traceback" not in done.stdout + done.stderr and len(done.stderr.splitlines()) <= 5
    assert list((run_folder(disk) / "checkpoints").glob("step-*.pt")), "the last whole one stands"
    again = launch(*RUN, f"outputs={disk}")
    assert again.returncode == 1 and "Traceback" not in again.stdout + again.stderr, again
    os.unlink(disk / "filler")
    assert "going on at step" in launch(*RUN, f"outputs={disk}").stdout
    assert status(run_folder(disk))["state"] == "finished"
