"""Metrics to Weights & Biases, by a process of its own that cannot hold up the run.

The run never imports wandb. A thread feeds `crate.tracking.wandb_process`, line by line, from a
bounded queue. That process is in a session of its own, so that Ctrl-C does not reach it; the hooks
of wandb on signals, output and exit stay in there; one that does not end in time is killed.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from crate.config.check import CHECKOUT
from crate.provenance import redact
from crate.runfolder import RunFolder
from crate.tracking.base import Tracker

logger = logging.getLogger("crate")


class Wandb(Tracker):
    """Logs to wandb, online or offline; `options` are the fields of its node in the schema.

    Rows that find the queue full, or that wandb's process did not take, are counted as dropped.
    """

    def __init__(self, queue_size: int, finish_timeout_s: float, **options: Any) -> None:
        self.options, self.finish_timeout_s = options, finish_timeout_s
        self.queue: queue.Queue[dict[str, Any]] = queue.Queue(queue_size)
        self.logged = self.taken = 0
        self.full = self.killed = False

    def start(self, folder: RunFolder, signature: str, config: dict[str, Any]) -> None:
        self.place = folder.path / "wandb"
        self.place.mkdir(exist_ok=True)
        options = self.options
        again = len(list(folder.path.parent.glob(f"*-{signature}-old-*")))
        first = {
            "parent": os.getpid(),
            "rows": folder.read_metrics(),  # of a resumed run, up to its checkpoint
            "dir": str(folder.path),
            "id": f"{signature}-{again}" if again else signature,  # rerun: not into the old curve
            "project": options["project"],
            "entity": options["entity"],
            "mode": options["mode"],
            "group": options["group"],
            "job_type": options["job_type"] or config["task"],
            "tags": options["tags"],
            "name": options["name"] or folder.path.name.removesuffix(f"-{signature}"),
            "config": config | {"swept": options["swept"]},
            "limit_s": self.finish_timeout_s / 3,  # to start, to start offline instead, to upload
        }
        with open(self.place / "process.log", "ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "crate.tracking.wandb_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=CHECKOUT,
                # wandb would report its own failures, with our traceback, to a third party.
                env={"WANDB_ERROR_REPORTING": "false"} | os.environ,
                start_new_session=True,
            )
        self.thread = threading.Thread(target=self._feed, args=(redact(first),), daemon=True)
        self.thread.start()

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.logged += 1
        try:
            self.queue.put_nowait({"log": {"step": step, **metrics}})
        except queue.Full:
            if not self.full:
                size = self.queue.maxsize
                logger.warning(
                    "wandb: %d rows are waiting; rows are dropped while that lasts", size
                )
            self.full = True

    def finish(self, state: str) -> None:
        """Waits for wandb for `finish_timeout_s` at most, and says how many rows it missed."""
        end = time.monotonic() + self.finish_timeout_s
        with suppress(queue.Full):
            self.queue.put({"finish": state}, timeout=self.finish_timeout_s)
        try:
            self.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.killed = True
            self.process.kill()
            self.process.wait()
            logger.warning("wandb: not done after %g s and killed", self.finish_timeout_s)
            self.queue.put({"finish": state})  # the thread, freed now, makes room for it
        self.thread.join(1)
        if dropped := self.logged - self.taken:
            logger.warning(
                "wandb: %d of %d rows dropped; metrics.jsonl has them all", dropped, self.logged
            )

    def _feed(self, message: dict[str, Any]) -> None:
        """Hands over the first message, then the queue's until the last; the thread's work."""
        alive = self._ask(message)
        while "finish" not in message:
            message = self.queue.get()
            alive = alive and self._ask(message)  # the rest is taken out of the queue all the same
            self.taken += alive and "log" in message

    def _ask(self, message: dict[str, Any]) -> bool:
        """Sends one line and says what is answered; False where the process is gone."""
        try:
            self.process.stdin.write(json.dumps(message, default=str).encode() + b"\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):  # no pipe to write to, or no line to read
            if not self.killed:
                log = self.place / "process.log"
                logger.warning("wandb: its process ended, see %s; the run goes on", log)
            return False
        for level, text in answer.items():
            logger.log(logging.getLevelNamesMapping()[level], "wandb: %s", text)
        return True
