"""The processes that make a way's training steps, apart from all others in memory and settings."""

from __future__ import annotations

import os
import socket
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any, Literal

from crate.bench.way import Way
from crate.errors import UserError

if TYPE_CHECKING:
    import torch

    from crate.bench.forms import Step

Order = tuple[Literal["run", "profile"], int]  # what to do, and for how many steps


class Stepper:
    """The processes of a way, one per rank; each waits for its turn."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        context, port = get_context("spawn"), _free_port() if way.ranks > 1 else None
        for rank in range(way.ranks):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(way, rank, port, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self.flops: float = self._answers()[0]  # of one step

    def run(self, steps: int) -> float:
        """Return the seconds of a step: the mean over `steps` of the slowest rank."""
        return max(self._ask(("run", steps)))

    def largest_costs(self, steps: int) -> dict[str, float]:
        """Return the three operations that took most of `steps`, and their shares."""
        return self._ask(("profile", steps))[0]

    def finish(self) -> float:
        """End the processes; return the peak memory of the largest one (1e9 bytes)."""
        peak = max(self._ask(None))
        for process in self._processes:
            process.join()
        return peak

    def _ask(self, order: Order | None) -> list[Any]:
        for pipe in self._pipes:
            pipe.send(order)
        return self._answers()

    def _answers(self) -> list[Any]:
        """Return the answer of each rank; raise the UserError that one of them sent."""
        answers = []
        for pipe in self._pipes:
            try:
                answers.append(pipe.recv())
            except EOFError:
                raise UserError(f"a process of {self.way} ended early; see above") from None
        for answer in answers:
            if isinstance(answer, UserError):
                raise answer
        return answers


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _serve(way: Way, rank: int, port: int | None, pipe: Connection) -> None:
    """Build the step of a way, then answer orders until None arrives."""
    if port is not None:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(way.ranks), "LOCAL_RANK": str(rank)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    import torch

    from crate.bench.forms import step_of
    from crate.ranks import Ranks
    from crate.train.archive.record import peak_memory_gb

    if way.threads is not None:
        torch.set_num_threads(way.threads)
    device = torch.device(way.device)
    try:
        with Ranks.detect().joined(way.device):
            step, flops = step_of(way, device)
            step()
            pipe.send(flops)
            while (order := pipe.recv()) is not None:
                pipe.send(_carry_out(order, step, device))
            pipe.send(peak_memory_gb(device))
    except UserError as error:
        pipe.send(error)


def _carry_out(order: Order, step: Step, device: torch.device) -> float | dict[str, float]:
    """Return the seconds of a step ("run") or the largest costs of the steps ("profile")."""
    import torch

    from crate.train.hardware.profile import largest_costs

    def make(steps: int) -> None:
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    task, steps = order
    make(0)  # waits for the device
    if task == "profile":
        with torch.profiler.profile() as trace:
            make(steps)
        return largest_costs(trace, device.type == "cuda")
    started = time.perf_counter()
    make(steps)
    return (time.perf_counter() - started) / steps
