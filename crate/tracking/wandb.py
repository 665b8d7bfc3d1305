"""Metrics to Weights & Biases, through a separate process that cannot delay the run.

The run never imports wandb. A thread feeds `crate.tracking.wandb_process` from a bounded queue, one
line per message. That process has its own session, so that Ctrl-C does not reach it, and contains
wandb's hooks on signals, output and exit. If it ends too early, it is started once more and
receives the rows of metrics.jsonl; if it does not end in time, it is killed.
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
from typing import Any

from crate.paths import CHECKOUT
from crate.run.folder import RunFolder
from crate.run.secrets import redact
from crate.tracking.base import Tracker
from crate.tracking.shown import flat, objective, shown

logger = logging.getLogger("crate")


class Wandb(Tracker):
    """Log to wandb, online or offline; `options` are the fields of its node in the schema.

    Rows are counted as dropped if the queue is full, or if wandb's process does not accept them.
    """

    def __init__(self, queue_size: int, finish_timeout_s: float, **options: Any) -> None:
        self.options, self.finish_timeout_s = options, finish_timeout_s
        self.queue: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue(queue_size)
        self.full = self.killed = self.restarted = False

    def start(self, folder: RunFolder, signature: str, config: dict[str, Any]) -> None:
        options, self.folder = self.options, folder
        known = {key: options[key] for key in ("swept", "published")}
        again = len(list(folder.path.parent.glob(f"*-{signature}-old-*")))
        first = {
            "dir": str(folder.path),
            "id": f"{signature}-{again}" if again else signature,  # a rerun gets another curve
            "project": options["project"],
            "entity": options["entity"],
            "mode": options["mode"],
            "group": options["group"],
            "job_type": options["job_type"] or config["task"],
            "tags": options["tags"],
            "name": options["name"] or folder.path.name.removesuffix(f"-{signature}"),
            "config": shown(config) | flat(options["swept"], config) | known,
            "objective": objective(config),
            "limit_s": self.finish_timeout_s / 3,  # for each of: start, start offline, upload
        }
        self.first = redact(first)
        # Numbers of rows in metrics.jsonl: at the start, logged, accepted by wandb.
        self.begun = self.logged = self.taken = len(folder.read_metrics())
        self.output = folder.path / "wandb" / "process.log"
        self.output.parent.mkdir(exist_ok=True)
        self.process = self._open()
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()

    def log(self, step: int, metrics: dict[str, float]) -> None:
        message = {"log": {"step": step, **metrics}}
        try:
            self.queue.put_nowait((self.logged, message))
        except queue.Full:
            if not self.full:
                many = f"{self.queue.maxsize} rows are waiting"
                logger.warning("wandb: %s; rows are dropped until it catches up", many)
            self.full = True
        self.logged += 1

    def finish(self, state: str) -> None:
        """Wait for wandb for at most `finish_timeout_s` or until Ctrl-C; warn of dropped rows."""
        begun = time.monotonic()
        last = (self.logged, {"finish": state})
        try:
            self.queue.put(last, timeout=self.finish_timeout_s)
            self.thread.join(max(0.0, begun + self.finish_timeout_s - time.monotonic()))
        except (queue.Full, KeyboardInterrupt):
            pass
        if self.thread.is_alive():
            self.killed = True
            self.process.kill()
            logger.warning("wandb: killed, not done after %.0f s", time.monotonic() - begun)
            self.queue.put(last)  # the thread, no longer blocked, makes room for it
            self.thread.join(1)
        if dropped := self.logged - self.taken:
            many = f"{dropped} of {self.logged - self.begun}"
            logger.warning("wandb: %s rows dropped; metrics.jsonl has them all", many)

    def _open(self) -> subprocess.Popen[bytes]:
        with open(self.output, "ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "crate.tracking.wandb_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=CHECKOUT,
                # wandb would report its own failures, with our traceback, to a third party.
                env={"WANDB_ERROR_REPORTING": "false"} | os.environ,
                start_new_session=True,
            )

    def _feed(self) -> None:
        """Pass on the messages in the queue, up to the last one; runs in the thread."""
        alive = self._begin(self.begun)
        message: dict[str, Any] = {}
        while "finish" not in message:  # without wandb, the queue is emptied all the same
            position, message = self.queue.get()
            if alive and not self._ask(message):
                alive = self._begin_again(position) and self._ask(message)
            self.taken += alive and "log" in message
        self.process.wait()

    def _begin(self, position: int) -> bool:
        """Send the start message, with the rows of metrics.jsonl before `position`."""
        rows = self.folder.read_metrics()[:position]
        return self._ask(self.first | {"parent": os.getpid(), "rows": rows})

    def _begin_again(self, position: int) -> bool:
        """Start the process for the second and last time; return whether it accepts messages."""
        if self.restarted or self.killed:
            return False
        self.restarted = True
        self.process.wait()
        self.process = self._open()
        if begun := self._begin(position):
            self.taken = position
        return begun

    def _ask(self, message: dict[str, Any]) -> bool:
        """Send one message and log the answer; return False if the process has ended."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None  # both are pipes
        try:
            stdin.write(json.dumps(message, default=str).encode() + b"\n")
            stdin.flush()
            answer = json.loads(stdout.readline())
        except (OSError, ValueError):  # the pipe is closed, or no line came back
            if not self.killed:
                logger.warning("wandb: its process ended, see %s; the run goes on", self.output)
            return False
        for level, text in answer.items():
            logger.log(logging.getLevelNamesMapping()[level], "wandb: %s", text)
        return True
