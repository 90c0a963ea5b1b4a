"""A Debian that is booted: systemd as its first process, its own journal and users, and this machine's network."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

_BOOTING = 60.0  # seconds; it takes about three
_ENDING = 30.0
_COMMAND = 300.0
_LEADER = b"X_NSPAWN_LEADER_PID="
_CGROUPS = Path("/sys/fs/cgroup")


class Container:
    """A tree that runs for the length of the ``with`` block, and ends with this process, however it ends.

    It is to be entered, and rebooted, in the main thread. Needs root and systemd-nspawn. Wherever this machine itself
    runs systemd, the container is one of its scopes; elsewhere it gets control groups of its own.
    """

    def __init__(self, tree: Path, *, archives: Path) -> None:
        """Run the tree in the directory ``tree``; ``archives`` is where its apt keeps what it has fetched."""
        self.tree = tree
        self._archives = archives
        self._name = f"{tree.name}-{os.getpid()}"
        self._cgroups: list[Path] = []

    def __enter__(self) -> Self:
        self._archives.mkdir(parents=True, exist_ok=True)
        if not Path("/run/systemd/system").exists():
            self._cgroups = _make_cgroups(self._name)
        self._boot()
        return self

    def _boot(self) -> None:
        """Start it, and wait until its systemd has started everything."""
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news,
            self.tree.with_name(f"{self.tree.name}.console").open("ab") as console,
        ):
            news.bind(f"\0{self._name}")  # a name that is no file
            news.settimeout(_BOOTING)
            self._process = subprocess.Popen(
                ["sh", "-c", _ENTER_CGROUPS, "sh", *map(str, self._cgroups), "--", *self._command()],
                env=os.environ | {"NOTIFY_SOCKET": f"@{self._name}"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
            try:
                self.leader = _booted(news)
            except BaseException:
                self._process.terminate()
                self._process.wait()
                raise

    def _shut_down(self) -> None:
        """Have its systemd stop everything, and wait until it has ended."""
        assert self._process.poll() is None, "nothing else ends it"
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(_ENDING)
        except BaseException:
            os.kill(self.leader, signal.SIGKILL)  # and with it, all that runs there
            self._process.wait()
            raise
        assert code == 0

    def _command(self) -> list[str]:
        keep_unit = ["--keep-unit"] if self._cgroups else []
        return [
            # When this process ends, or just the thread that is here now, the container is shut down.
            "setpriv",
            "--pdeathsig=TERM",
            "systemd-nspawn",
            f"--directory={self.tree}",
            "--boot",
            "--register=no",
            *keep_unit,
            "--link-journal=no",
            "--console=pipe",
            "--notify-ready=yes",
            f"--bind={self._archives}:/var/cache/apt/archives",
        ]

    def run(self, *command: str, stdin: str = "", code: int | None = 0) -> str:
        """Run a command in it as root; gives its stdout.

        It has to end with ``code``, unless that is None.
        """
        namespaces = ("--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd")
        environment = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
        ran = subprocess.run(
            ["nsenter", f"--target={self.leader}", *namespaces, *environment, *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_COMMAND,
            check=False,
        )
        assert code in {None, ran.returncode}, f"{command}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def path(self, path: str) -> Path:
        """Give the place of a file in it as this machine sees it, /run and /tmp included."""
        return Path(f"/proc/{self.leader}/root") / path.lstrip("/")

    def reboot(self) -> None:
        """Shut it down, and boot it again."""
        self._shut_down()
        self._boot()

    def __exit__(self, *_: object) -> None:
        self._shut_down()
        for cgroup in self._cgroups:
            _remove_cgroup(cgroup)


def _booted(news: socket.socket) -> int:
    """Wait until a container says that it has booted; gives its first process."""
    leader = None
    while True:
        for line in news.recv(4096).splitlines():
            if line.startswith(_LEADER):
                leader = int(line.removeprefix(_LEADER))
            if line == b"READY=1" and leader is not None:
                return leader


_ENTER_CGROUPS = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@"'


def _make_cgroups(name: str) -> list[Path]:
    """Make a control group in each hierarchy that systemd uses: its own of version 1, and that of version 2."""
    roots = [
        root for root in (_CGROUPS / "systemd", _CGROUPS / "unified", _CGROUPS) if (root / "cgroup.procs").exists()
    ]
    made = [root / name for root in roots]
    for cgroup in made:
        cgroup.mkdir()
    return made


def _remove_cgroup(cgroup: Path) -> None:
    for directory, _, _ in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            Path(directory).rmdir()
