"""The process that uses wandb; `crate.tracking.wandb` starts and feeds it.

It reads lines of JSON: first the options to start with, then {"log": row} for each row, and
{"finish": state}. It answers each line with {} or {level: message}. If the run is gone before the
last line, it was killed.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO, Any

from crate.config.schema import Objective

PROBE_S = 2
WATCH_S = 0.5


def main() -> None:
    """Log to wandb until the run ends or is gone."""
    pipe, answers = _take_pipes()

    def answer(messages: dict[str, str]) -> None:
        answers.write(json.dumps(messages).encode() + b"\n")
        answers.flush()

    first = json.loads(pipe.readline())
    parent, rows = first.pop("parent"), first.pop("rows")
    best = Best(Objective(**first.pop("objective")))
    run, started = begin(**first)
    for number, row in enumerate(rows):
        if number >= run.starting_step:  # wandb has the rows before it
            run.log(row)
        best.note(run, row)
    answer(started)
    for message in messages(pipe, parent):
        if "finish" in message:
            answer(end(run, message["finish"]))
            return
        run.log(message["log"])
        best.note(run, message["log"])
        answer({})
    end(run, "killed")


class Best:
    """The best value of the objective, and its step, in a run's summary."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.value = objective, objective.worst

    def note(self, run: Any, row: dict[str, Any]) -> None:
        """Update the summary if a row has a better value."""
        metric = self.objective.metric
        if metric in row and self.objective.is_better(row[metric], self.value):
            self.value = row[metric]
            run.summary.update({f"best/{metric}": self.value, "best/step": row["step"]})


def messages(pipe: IO[bytes], parent: int) -> Iterator[dict[str, Any]]:
    """Yield the messages in the pipe as long as the run's process lives.

    The end of the pipe is no sufficient sign: the run's loader processes keep it open for a while.
    """
    while os.getppid() == parent:
        if select.select([pipe], [], [], WATCH_S)[0]:
            if not (line := pipe.readline()):
                return
            yield json.loads(line)


def begin(mode: str, limit_s: float, **options: Any) -> tuple[Any, dict[str, str]]:
    """Return a wandb run, offline if it cannot be online, and the messages about it."""
    import wandb

    settings = wandb.Settings(
        init_timeout=limit_s,
        finish_timeout=limit_s,
        finish_timeout_raises=True,
        silent=True,
        program="launch.py",
        host="",
        # Send metrics and configuration only: no output, code, diff, machine or package list.
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=1,  # seconds between writes; a crash loses no more
    )
    options |= {"settings": settings, "resume": "allow"}
    chosen, why = decide(mode, wandb.setup().settings)
    try:
        run = wandb.init(mode=chosen, **options)
        messages = {"INFO": f"{chosen} as run {run.id}, {why}"}
    except Exception as error:
        if chosen != "online":
            raise
        wandb.teardown()  # otherwise its service keeps the run's id
        run = wandb.init(mode="offline", **options)
        messages = {"WARNING": f"offline as run {run.id}, online failed: {_first_line(error)}"}
    run.define_metric("step")
    run.define_metric("*", step_metric="step")
    return run, messages


def decide(mode: str, settings: Any) -> tuple[Any, str]:
    """Return the mode, and the reason for it: online, offline, or the value of WANDB_MODE."""
    if mode != "auto":
        return mode, f"as tracker.mode={mode} says"
    if asked := os.environ.get("WANDB_MODE"):
        return asked, f"as WANDB_MODE={asked} says"
    from wandb.sdk.lib.wbauth import read_netrc_auth

    url = settings.base_url
    if not (settings.api_key or settings.identity_token_file or read_netrc_auth(host=url)):
        return "offline", f"no API key for {url}; to have one, type: wandb login"
    if not _answers(url):
        return "offline", f"no answer from {url} within {PROBE_S} s"
    return "online", f"{url} answers"


def end(run: Any, state: str) -> dict[str, str]:
    """Close the run; return the messages about its end."""
    upload = f"wandb sync --include-online {run.settings.sync_dir}"  # wandb skips others silently
    try:
        run.finish(exit_code=0 if state == "finished" else 1)
    except Exception as error:
        return {"WARNING": f"not all was uploaded ({_first_line(error)}); type: {upload}"}
    return {"INFO": f"to upload it, type: {upload}"} if run.settings._offline else {}


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=PROBE_S).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, http.client.HTTPException):
        return False
    return True


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Return stdin and stdout, after replacing them for all other code in this process."""
    pipe, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(sys.stderr.fileno(), 1)
    return pipe, answers


if __name__ == "__main__":
    main()
