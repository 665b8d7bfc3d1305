"""Start the Python of a Slurm job with SIGUSR2 blocked until the job can handle it.

    python -IS hold_signals.py ARGUMENTS    runs: python ARGUMENTS

A preemption while Python starts and imports would otherwise kill the process; Slurm then calls the
job FAILED and does not requeue it. A blocked signal stays pending, also across exec, until
`crate.sweep.job` unblocks it.
"""

import os
import signal
import sys

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
