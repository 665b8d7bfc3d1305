"""A real Slurm of two nodes on this machine, in a separate folder.

munged, slurmctld and a slurmd a node, with free ports on 127.0.0.1; with `accounting=True` also
MariaDB and slurmdbd, so that sacct answers. Two partitions: a job sent to `urgent` preempts one of
`main`, which is then requeued.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
ACCOUNTING = ("slurmdbd", "mariadbd")

SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
MaxArraySize={max_array}
KillWait=5
MinJobAge={min_job_age}
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
MailProg=/bin/true
{accounting}
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=2 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=20 State=UP
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE PriorityTier=10 State=UP
"""

ACCOUNTING_CONF = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/munge.socket
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser={user}
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mysql}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""


def missing(accounting: bool = False) -> list[str]:
    """Return the programs that a cluster needs and that are not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    programs = PROGRAMS + (ACCOUNTING if accounting else ())
    return [name for name in programs if shutil.which(name, path=path) is None]


class Cluster:
    """Daemons that run until `stop`.

    A user of this cluster sets the variables of `environment`. With those of `without_accounting`
    sacct does not answer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        accounting: bool = False,
        max_array: int = 1001,
        min_job_age: int = 300,
    ) -> None:
        self.folder = folder
        self._daemons = ExitStack()
        self._ports = dict(zip(("ctld", "n1", "n2", "dbd", "mysql"), _free_ports(5), strict=True))
        self._values = self._ports | {
            "host": socket.gethostname().split(".")[0],
            "folder": folder,
            "user": getpass.getuser(),
            "max_array": max_array,
            "min_job_age": min_job_age,
            "accounting": ACCOUNTING_CONF.format(folder=folder, **self._ports)
            if accounting
            else "",
        }
        (folder / "state").mkdir(parents=True)
        (folder / "slurm.conf").write_text(SLURM_CONF.format(**self._values))
        bare = SLURM_CONF.format(**self._values | {"accounting": ""})
        (folder / "bare.conf").write_text(bare)
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self.without_accounting = {"SLURM_CONF": str(folder / "bare.conf")}
        self._env = {"PATH": "/usr/sbin:/usr/bin:/bin:/sbin", **self.environment}
        try:
            self._start(accounting)
        except BaseException:
            self.stop()
            raise

    def _start(self, accounting: bool) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        names = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        files = [f"--{option}={self.folder}/munge.{suffix}" for option, suffix in names.items()]
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", *files)
        _wait(lambda: (self.folder / "munge.socket").exists(), "munged")
        if accounting:
            self._start_accounting()
        self._daemon("slurmctld", "-D")
        for node in ("n1", "n2"):
            self._daemon("slurmd", "-D", "-N", node)
        _wait(
            lambda: (self.run("sinfo", "-h", "-N", "-o", "%t") or "").split().count("idle") >= 2,
            "Slurm",
        )

    def _start_accounting(self) -> None:
        data = self.folder / "mysql"
        install = [
            "mysql_install_db",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        ]
        subprocess.run(
            [*install, f"--user={getpass.getuser()}", "--skip-test-db"],
            check=True,
            capture_output=True,
            env=self._env,
        )
        self._daemon(
            "mariadbd",
            "--no-defaults",
            f"--user={getpass.getuser()}",
            f"--datadir={data}",
            f"--socket={self.folder}/mysql.socket",
            f"--pid-file={self.folder}/mysql.pid",
            f"--port={self._ports['mysql']}",
            "--bind-address=127.0.0.1",
        )
        client = [
            "mariadb",
            "--no-defaults",
            f"--socket={self.folder}/mysql.socket",
            "-uroot",
            "-e",
        ]
        grant = "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm'"
        _wait(lambda: self.run(*client, grant) is not None, "MariaDB")
        conf = self.folder / "slurmdbd.conf"
        conf.write_text(SLURMDBD_CONF.format(**self._values))
        conf.chmod(0o600)
        self._daemon("slurmdbd", "-D")
        _wait(lambda: self.run("sacctmgr", "-n", "show", "cluster") is not None, "slurmdbd")
        self.run("sacctmgr", "-i", "add", "cluster", "test")

    def _daemon(self, *command: str) -> None:
        with open(self.folder / f"{command[0]}.out", "ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=self._env)
        self._daemons.callback(process.wait)
        self._daemons.callback(process.terminate)

    def run(self, *command: str) -> str | None:
        """Return the output of a command on the cluster, or None if it fails."""
        done = subprocess.run(
            command, capture_output=True, text=True, env=dict(os.environ) | self._env
        )
        return done.stdout if done.returncode == 0 else None

    def states(self) -> dict[str, str]:
        """Return the state of every job that the controller knows."""
        lines = (self.run("squeue", "-h", "-r", "-t", "all", "-o", "%i %T") or "").splitlines()
        return dict(line.split() for line in lines)

    def accounted(self, job: str) -> str | None:
        """Return the state of a job in accounting once it has ended."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            state = self.run("sacct", "-X", "-n", "-P", "-o", "State", "-j", job)
            if state and state.split()[0] not in ("RUNNING", "PENDING", "COMPLETING"):
                return state.split()[0]
            time.sleep(0.2)
        return None

    def release(self, outputs: Path) -> None:
        """Release the jobs of `outputs` that were submitted with a hold."""
        for file in outputs.glob("sweeps/*/jobs/*_submission.sh"):
            self.run("scontrol", "release", file.name.partition("_")[0])

    def stop(self) -> None:
        """End every job, then every daemon."""
        if self.run("scancel", "--full", "-u", getpass.getuser()) is not None:
            deadline = time.monotonic() + 15
            while self.run("squeue", "-h") and time.monotonic() < deadline:
                time.sleep(0.2)
        self._daemons.close()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
            for _ in range(count)
        ]
        return [server.getsockname()[1] for server in servers]


def _wait(ready: object, what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start in {timeout_s} s")
        time.sleep(0.1)
