"""A Slurm of two nodes on this machine, for tests: a munged of its own, a controller, two slurmd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "setpriv"]
NODES = ("one", "two")
SYSTEM_PATH = "/usr/sbin:/sbin"

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SlurmdTimeout=10
ReturnToService=2
KillWait=5
MessageTimeout=5
InactiveLimit=0
JobRequeue=1
MinJobAge=3600
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={one} CPUs=4 State=UNKNOWN
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={two} CPUs=4 State=UNKNOWN
PartitionName=main Nodes=one,two Default=YES MaxTime=60 PriorityTier=1 GraceTime=60 State=UP
PartitionName=urgent Nodes=one,two MaxTime=60 PriorityTier=10 PreemptMode=OFF State=UP
"""


def missing() -> str | None:
    """Why no cluster can be had here; None if one can."""
    found = [
        name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:{SYSTEM_PATH}") is None
    ]
    if found:
        return f"a real Slurm is needed: {', '.join(found)} missing (slurmctld slurmd slurm-client munge)"
    return None if os.geteuid() == 0 else "a real Slurm is started by root only"


class Cluster:
    """Commands find it by SLURM_CONF, which `environment` holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "slurm.conf"
        self.stopped: list[str] = []  # nodes
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        path = f"{os.environ['PATH']}:{SYSTEM_PATH}"
        self.environment = {**os.environ, "SLURM_CONF": str(self.config), "PATH": path}

    def start(self) -> None:
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        host = socket.gethostname().partition(".")[0]
        controller, one, two = _free_ports(3)
        self.config.write_text(
            CONFIG.format(folder=self.folder, host=host, controller=controller, one=one, two=two)
        )
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        options = [f"--{name}-file={files[name]}" for name in ("pid", "log", "seed")]
        self._spawn(
            "munged",
            *("--foreground", "--force", f"--key-file={key}", f"--socket={files['socket']}", *options),
        )
        until(files["socket"].exists, "munged listens")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        until(lambda: self.nodes("idle") == set(NODES), "both nodes are idle")

    def start_controller(self) -> None:
        self._spawn("slurmctld", "-D")

    def stop_controller(self) -> None:
        """As an administrator would: killed outright it may lose a job that it took in the last second."""
        daemon = self._daemons.pop("slurmctld")
        daemon.terminate()
        daemon.wait()

    def start_node(self, name: str) -> None:
        # What it starts works in its folder too, by which `stop_node` tells it from another node's.
        self._spawn(f"slurmd-{name}", "-D", "-N", name, folder=self.folder / f"spool-{name}")

    def stop_node(self, name: str) -> None:
        """As a power cut would: the daemon, and all that it started, at once."""
        self.stopped.append(name)
        self._kill(f"slurmd-{name}")
        steps = [p for p in psutil.process_iter(["name"]) if self._is_step_of(p, name)]
        for process in [each for step in steps for each in (step, *step.children(recursive=True))]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _is_step_of(self, process: psutil.Process, node: str) -> bool:
        if process.info["name"] != "slurmstepd":  # type: ignore[attr-defined]
            return False
        with suppress(psutil.Error):
            return Path(process.cwd()) == self.folder / f"spool-{node}"
        return False

    def tell(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def nodes(self, state: str) -> set[str]:
        return set(self.tell("sinfo", "--noheader", "--Node", f"--states={state}", "--format=%N").split())

    def jobs(self) -> list[dict[str, str]]:
        """What the controller remembers of every job, ended ones too."""
        lines = self.tell("scontrol", "--oneliner", "show", "job").splitlines()
        return [dict(word.partition("=")[::2] for word in line.split() if "=" in word) for line in lines]

    def hurry(self) -> None:
        """A requeued job may start at once: Slurm would wait two minutes."""
        for line in self.tell("squeue", "--array", "--noheader", "--format=%i %r").splitlines():
            job, reason = line.split(maxsplit=1)
            if reason == "BeginTime":
                self.tell("scontrol", "update", f"jobid={job}", "starttime=now")

    def stop(self) -> None:
        self.tell("scancel", "--full", "--signal=KILL", "--me")
        self.tell("scancel", "--me")
        with suppress(TimeoutError):
            until(lambda: not self.tell("squeue", "--noheader"), "no job is left", 20)
        for node in NODES:
            if f"slurmd-{node}" in self._daemons:
                self.stop_node(node)
        for daemon in self._daemons.values():
            daemon.send_signal(signal.SIGTERM)
        for name in list(self._daemons):
            with suppress(subprocess.TimeoutExpired):
                self._daemons[name].wait(10)
            self._kill(name)

    def _kill(self, name: str) -> None:
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def _spawn(self, name: str, *options: str, folder: Path | None = None) -> None:
        program = shutil.which(name.partition("-")[0], path=self.environment["PATH"])
        assert program is not None
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                # They end with the tests, however those end.
                ["setpriv", "--pdeathsig", "KILL", program, *options],
                cwd=folder or self.folder,
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Stopped at the end, whatever happened; nothing is left running."""
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def until(happened: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """What it gives, once that is something. Raises TimeoutError that says what did not happen."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        if time.monotonic() > end:
            raise TimeoutError(f"within {seconds:g} s it did not happen that {what}")
        time.sleep(0.1)
    return found


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
