"""A pool of slots on this machine, each of which runs one point after another.

A slot is a process of its own session: Ctrl-C reaches the pool alone, which tells each slot once,
and a slot whose pool is gone ends with the run that it is at.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from crate import provenance
from crate.ownership import BEAT_S, this_process
from crate.runfolder import RunFolder, runs_by_signature, write_json
from crate.sweep.folder import SweepFolder
from crate.sweep.options import Local
from crate.sweep.watch import Watch

logger = logging.getLogger("crate")
POLL_S = 0.5


def heartbeat_file(sweep: SweepFolder) -> Path:
    """Returns where this process's pool shows that it lives."""
    return sweep.path / f"pool-{socket.gethostname()}-{os.getpid()}.json"


def show_alive(sweep: SweepFolder) -> None:
    """Renews this process's heartbeat."""
    write_json(heartbeat_file(sweep), this_process())


def environments(options: Local, number: int, *, on_cpu: bool) -> list[dict[str, str]]:
    """Returns what tells each slot its share of the machine: one environment a slot.

    There are no more slots than runs (`number`); `on_cpu` leaves the GPUs alone. The caller's own
    OMP_NUM_THREADS stands where nothing else is said.
    """
    gpus, cores = [] if on_cpu else _gpus(), provenance.cores()
    wanted = options.threads or int(os.environ.get("OMP_NUM_THREADS", 0))
    if gpus:
        gpus = [gpu for _ in range(options.runs_per_gpu) for gpu in gpus]
        slots = min(options.slots or len(gpus), len(gpus))
    else:
        slots = options.slots or max(1, cores // (wanted or 1))
    slots = min(slots, number)
    threads = wanted or max(1, cores // slots)
    shares = [{"OMP_NUM_THREADS": str(threads), "CRATE_CORES": str(threads)} for _ in range(slots)]
    for share, gpu in zip(shares, gpus, strict=False):
        share["CUDA_VISIBLE_DEVICES"] = gpu
    return shares


def _gpus() -> list[str]:
    """Returns the GPUs that the caller may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return [str(n) for n, _ in enumerate(x for x in listed.splitlines() if x.startswith("GPU "))]


class Slot:
    """One worker process and the signature that it is at, if any."""

    def __init__(self, sweep: SweepFolder, environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "crate.sweep.worker", str(sweep.path)]
        self._environment, self._said = environment, sweep.jobs / "workers.out"
        self._code: Path | None = None
        self.process: subprocess.Popen[str] | None = None
        self.signature: str | None = None

    def begin(self, signature: str, code: Path) -> None:
        """Hands a point to the worker, which is started where none is alive in that snapshot."""
        self.signature = signature
        if self.process is not None and (self.process.poll() is not None or code != self._code):
            self.end()  # killed while it had nothing to do, or of other code
        self._code = code
        if self.process is None:
            with open(self._said, "ab") as said:
                self.process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    text=True,
                    cwd=self._code,
                    env={**os.environ, **self._environment},
                    start_new_session=True,
                )
        with suppress(BrokenPipeError):  # dead already, as reading its answer tells
            self.process.stdin.write(f"{signature}\n")
            self.process.stdin.flush()

    def read(self) -> None:
        """Takes the worker's answer, or its end; the slot is free then."""
        if not self.process.stdout.readline():  # it died with the run
            self.end()
        self.signature = None

    def end(self) -> None:
        """Lets the worker go, once it has ended its run."""
        if self.process is not None:
            with suppress(BrokenPipeError):  # of what could not be written
                self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()
            self.process = None


class Pool:
    """Runs points in slots until all have ended, or a signal asks for a stop."""

    def __init__(self, slots: list[Slot], todo: dict[str, Path], tick: Callable[[], None]) -> None:
        self.slots, self.waiting, self._todo, self._tick = slots, deque(todo), todo, tick
        self.stopped_by = 0

    def run(self) -> None:
        """Returns once no slot has anything to do; `tick` is called twice a second."""
        handlers = {
            number: signal.signal(number, self._stop)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            while busy := self._fill():
                pipes = {slot.process.stdout: slot for slot in busy}
                for pipe in select.select(list(pipes), [], [], POLL_S)[0]:
                    pipes[pipe].read()
                self._tick()
        finally:
            for slot in self.slots:
                slot.end()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _fill(self) -> list[Slot]:
        """Gives each free slot a point; returns the slots at work."""
        for slot in self.slots:
            if slot.signature is None and self.waiting and not self.stopped_by:
                signature = self.waiting.popleft()
                slot.begin(signature, self._todo[signature])
        return [slot for slot in self.slots if slot.signature is not None]

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Has each run save and end; asked a second time, leave at once."""
        if not self.stopped_by:
            said = b"\nsaving all runs after this step; again leaves at once\n"
            os.write(2, said)
        self.stopped_by = number
        for slot in self.slots:
            if slot.signature is not None and slot.process.poll() is None:
                slot.process.send_signal(signal.SIGINT)


def run_all(
    sweep: SweepFolder,
    swept: dict[str, dict[str, Any]],
    todo: dict[str, Path],
    options: Local,
    *,
    on_cpu: bool,
) -> None:
    """Runs `todo`, signatures with their snapshots, and waits for the rest of `swept`.

    A line is said as each ends. Exits with the signal's code where one stopped the pool, each run
    having saved.
    """
    shares = environments(options, len(todo), on_cpu=on_cpu) if todo else []
    if shares:
        logger.info("%d at a time, %s threads each", len(shares), shares[0]["OMP_NUM_THREADS"])
    outputs, file = str(sweep.outputs), heartbeat_file(sweep)
    with _Beats(sweep), Watch(swept, outputs) as watch:
        slots = [Slot(sweep, share | {"CRATE_POOL": str(file)}) for share in shares]
        pool = Pool(slots, todo, watch.update)
        pool.run()
        _give_back(outputs, todo, pool.stopped_by)
        try:
            watch.update() if pool.stopped_by else watch.follow()
        except KeyboardInterrupt:
            logger.info("what others began goes on")
            sys.exit(130)
    if pool.stopped_by:
        logger.info("stopped; the same command goes on where the runs were")
        sys.exit(128 + pool.stopped_by)


def _give_back(outputs: str, todo: dict[str, Path], stopped_by: int) -> None:
    """Says of runs that never began that they wait no more, and why."""
    folders = runs_by_signature(outputs)
    for key in todo:
        folder = RunFolder(folders[key])
        if folder.status.get("state") != "queued" or folder.cancelled.exists():
            continue
        if stopped_by:
            told = {"state": "stopped", "reason": "its launch was stopped before it began"}
        else:
            told = {"state": "failed", "reason": "its worker ended before it began; see its logs"}
        folder.update_status(**told)


class _Beats:
    """Shows from a thread that the pool lives, until it is left."""

    def __init__(self, sweep: SweepFolder) -> None:
        self._sweep, self._stop = sweep, threading.Event()

    def __enter__(self) -> None:
        show_alive(self._sweep)
        threading.Thread(target=self._run, daemon=True).start()

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        heartbeat_file(self._sweep).unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            show_alive(self._sweep)
