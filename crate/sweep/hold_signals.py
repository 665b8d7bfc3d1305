"""Starts the Python of a Slurm job with SIGUSR2 held back until the job can handle it.

    python -IS hold_signals.py ARGUMENTS    runs: python ARGUMENTS

A preemption that comes while Python starts and imports would otherwise kill the process, which
Slurm calls FAILED and does not requeue. A blocked signal stays pending, over the exec too, until
`crate.sweep.job` unblocks it.
"""

import os
import signal
import sys

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
