"""The GPUs of a machine are counted by CUDA's driver, without torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from crate.paths import CHECKOUT
from crate.run.machine import device_errors

# A driver as CUDA's own answers: its result is 0, or 100 where there is no device.
DRIVER = """
int cuInit(unsigned int flags) { return RESULT; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
"""


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Return the value of `device_errors(...)` in a process whose driver returns `result`."""

    def asking(result: int, arguments: str) -> str:
        folder = tmp_path_factory.mktemp("driver")
        (folder / "driver.c").write_text(DRIVER.replace("RESULT", str(result)))
        library = folder / "libcuda.so.1"
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-shared", "-o", library, folder / "driver.c"], check=True)
        code = (
            "import sys; from crate.run.machine import device_errors\n"
            f"print(*device_errors({arguments}), 'torch' in sys.modules)"
        )
        environment = dict(os.environ) | {"LD_LIBRARY_PATH": str(folder)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=CHECKOUT, env=environment
        )
        return done.stdout + done.stderr

    return asking


@pytest.mark.skipif(sys.platform != "linux", reason="finds the driver by LD_LIBRARY_PATH")
@pytest.mark.skipif(os.path.exists("/dev/kfd"), reason="ROCm's GPUs are counted by torch alone")
def test_the_driver_says_which_devices_are_there(ask):
    assert ask(0, "'cuda:1'").strip() == "False"
    absent = ask(0, "'cuda:2'")
    assert "device=cuda:2 is not there" in absent and "auto, cpu, cuda, cuda:0, cuda:1" in absent
    assert "3 ranks on a machine of 2 GPU(s)" in ask(0, "'auto', 3, 3")
    assert "CUDA offers no GPU" in ask(100, "'cuda'")


def test_a_numbered_device_is_for_one_rank():
    (error,) = device_errors("cuda:0", 2, 2)
    assert "device=cuda:0 is for one rank, not 2" in str(error)
    assert not device_errors("cpu", 2, 2) and not device_errors("auto")
