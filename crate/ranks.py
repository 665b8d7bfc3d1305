"""The processes that train one model together, and their collective operations.

Only this module distinguishes torchrun, srun and a single process. It imports torch only if there
are processes to join, so that a single launch starts quickly.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from crate.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")


class ReportedByRank0(UserError):
    """An error that rank 0 reports for all ranks."""


@dataclass(frozen=True)
class Ranks:
    """This process's `rank` of `size`, its `local_rank` of `local_size` on this machine.

    Every rank has to call the collective methods (all but `detect`) in the same order. `launcher`
    is "torchrun", "slurm", or "" for a single process.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launcher: str = ""

    @classmethod
    def detect(cls) -> Ranks:
        """Return the rank of this process, as torchrun or srun set it in the environment."""
        env = os.environ
        if "RANK" in env and "WORLD_SIZE" in env:
            return cls(
                int(env["RANK"]),
                int(env["WORLD_SIZE"]),
                int(env.get("LOCAL_RANK", 0)),
                int(env.get("LOCAL_WORLD_SIZE", 1)),
                "torchrun",
            )
        # Only srun sets the size of a step; the process of a batch script is not a rank.
        size = int(env.get("SLURM_STEP_NUM_TASKS", 1))
        if size == 1:
            return cls()
        counts = _tasks_per_node(env["SLURM_STEP_TASKS_PER_NODE"])
        local_size = counts[int(env["SLURM_NODEID"])]
        return cls(int(env["SLURM_PROCID"]), size, int(env["SLURM_LOCALID"]), local_size, "slurm")

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the only one that writes files and messages."""
        return self.rank == 0

    @contextmanager
    def joined(self, device: str) -> Iterator[None]:
        """Join the other ranks, and leave them at the end.

        Tensors on a CPU are exchanged by gloo, tensors on GPUs by NCCL. Only rank 0 reports an
        error. Raise UserError if there are more ranks than GPUs.
        """
        if not self.launcher:
            yield
            return
        self._join(device)
        from torch import distributed as dist

        try:
            yield
        except UserError as error:
            raise error if self.is_first else ReportedByRank0(str(error)) from error
        finally:
            dist.destroy_process_group()

    def _join(self, device: str) -> None:
        # DDP warns of `find_unused_parameters`, which `wrap` sets for a reason.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        import torch
        from torch import distributed as dist

        on_gpu = torch.cuda.is_available() and device != "cpu"
        if on_gpu:
            if self.local_size > torch.cuda.device_count():
                raise UserError(
                    f"{self.local_size} ranks on a machine of {torch.cuda.device_count()} GPU(s)",
                    "a GPU for each rank, or all on the CPU",
                    f"torchrun --nproc_per_node={torch.cuda.device_count()} launch.py ...",
                )
            torch.cuda.set_device(self.local_rank)
        if self.launcher == "slurm":
            _export_address(self)
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")

    def first(self, function: Callable[[], T]) -> T:
        """Call `function` on rank 0; on every rank return its value or raise its UserError."""
        if not self.launcher:
            return function()
        from torch import distributed as dist

        answer: list[Any] = [None, None]  # value, text of the error
        if self.is_first:
            try:
                answer[0] = function()
            except UserError as error:
                dist.broadcast_object_list([None, str(error)])
                raise
        dist.broadcast_object_list(answer)
        value, error_text = answer
        if error_text is not None:
            raise ReportedByRank0(error_text)
        return value

    def each(self, function: Callable[[], T]) -> T:
        """Call `function` on every rank and return its value here.

        Raise a UserError of any rank on all of them.
        """
        error: UserError | None = None
        try:
            value = function()
        except UserError as raised:
            error = raised
        self.raise_any(error)
        return value

    def raise_any(self, error: UserError | None) -> None:
        """Raise on every rank the first UserError that any of them gives.

        While there is none, this exchanges one number.
        """
        if not self.maximum(error is not None)[0]:
            return
        texts = self.gather(None if error is None else str(error))
        rank, text = next((rank, text) for rank, text in enumerate(texts) if text is not None)
        if not self.is_first:
            raise ReportedByRank0(text)
        raise error or UserError(f"rank {rank}: {text}")

    def gather(self, value: T) -> list[T]:
        """Return the `value` of every rank, in the order of ranks."""
        if not self.launcher:
            return [value]
        from torch import distributed as dist

        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def maximum(self, *numbers: int) -> list[int]:
        """Return the largest of the ranks' numbers, one by one; ranks agree on flags by it."""
        if not self.launcher:
            return list(numbers)
        import torch
        from torch import distributed as dist

        largest = torch.tensor(numbers)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.tolist()

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over the ranks; it has the same shape on all of them."""
        if not self.launcher:
            return tensor
        from torch import distributed as dist

        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return `model` such that its backward pass averages the gradients over the ranks."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        # Looking for unused weights keeps DDP from rearranging its buckets after the first step of
        # a process. Otherwise the order of a sum, and its last bit, would differ after a resume.
        return DistributedDataParallel(model, find_unused_parameters=True)


def _tasks_per_node(text: str) -> list[int]:
    """Return "2(x3),1" as [2, 2, 2, 1]."""
    counts: list[int] = []
    for number, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(number)] * int(times or 1)
    return counts


def _export_address(ranks: Ranks) -> None:
    """Set the address where the ranks of a Slurm step meet: its first node, a port by job."""
    env = os.environ
    if "MASTER_ADDR" not in env:
        first = _scontrol("hostnames", env["SLURM_STEP_NODELIST"]).split()[0]
        address = re.search(r"NodeAddr=(\S+)", _scontrol("node", first))
        env["MASTER_ADDR"] = address[1] if address else first  # its name need not resolve
    step = int(env["SLURM_JOB_ID"]) * 7 + int(env.get("SLURM_STEP_ID", 0))
    env.setdefault("MASTER_PORT", str(20000 + step % 20000))
    env.update(RANK=str(ranks.rank), WORLD_SIZE=str(ranks.size), LOCAL_RANK=str(ranks.local_rank))


def _scontrol(*words: str) -> str:
    command = ["scontrol", "show", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
