"""Docker and Podman for the tests: a daemon of this machine, or one of the tests' own.

Where no registry is at hand, images are made from this machine's Debian under the names of the base
images, so that a Dockerfile is built, and compose.yaml started, as it is.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import skip

# Ends the daemon with the process whose id it is given, even if that is killed.
DAEMON = """\
dockerd --data-root "$PWD/data" --exec-root "$PWD/exec" --pidfile "$PWD/pid" \\
    --host "unix://$PWD/socket" --log-level warn > log 2>&1 &
tail --pid="$1" --follow /dev/null
kill $! && wait $!
umount data
cd / && rm -rf "$OLDPWD"
"""

# Compose 1, which Debian has, as the plug-in that `docker compose` looks for.
COMPOSE = """\
#!/bin/sh
[ "$1" = docker-cli-plugin-metadata ] || { shift; exec docker-compose "$@"; }
echo '{"SchemaVersion": "0.1.0", "Vendor": "Debian", "Version": "1"}'
"""

# What Python links with, and what its official image has besides.
PACKAGES = """
base-files base-passwd ca-certificates coreutils dash findutils grep libc-bin sed
libbz2-1.0 libffi8 liblzma5 libncursesw6 libreadline8 libsqlite3-0 libssl3 libstdc++6 libuuid1
zlib1g
"""
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"

# What the start of PostgreSQL's official image does, as far as a project needs it.
START_POSTGRES = """\
#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    echo "$POSTGRES_PASSWORD" > /tmp/password
    initdb --no-sync --locale C.UTF-8 --username postgres --pwfile /tmp/password \\
        --auth scram-sha-256
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | postgres --single postgres
fi
exec postgres -c listen_addresses=* -k /tmp
"""
POSTGRES = """\
FROM python:3.13-slim
COPY . /
RUN echo "postgres:x:999:999::/:/bin/sh" >> /etc/passwd \\
    && mkdir -p /var/lib/postgresql/data && chown 999:999 /var/lib/postgresql/data
ENV PATH={programs}:$PATH PGDATA=/var/lib/postgresql/data
USER 999
STOPSIGNAL SIGINT
CMD ["start"]
"""

# Podman without systemd: its runtime, and no limit that root may not set.
PODMAN = """\
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


def need(*programs: str) -> None:
    """Skip the test if a program is not installed, and name Debian's packages."""
    packages = {
        "docker": "docker.io",
        "dockerd": "docker.io",
        "kubectl": "kubernetes-client",
        "runc": "podman runc catatonit containernetworking-plugins",
    }
    if missing := [packages.get(name, name) for name in programs if not shutil.which(name)]:
        skip(f"install {' '.join(missing)} (Debian: apt install {' '.join(missing)})")


class Docker:
    """Runs commands for which `environment` finds the daemon."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self.folder = folder

    def __call__(self, *arguments: str) -> str:
        return self.shell('docker "$@"', None, *arguments)

    def shell(self, script: str, folder: Path | None, *arguments: str, **variables: str) -> str:
        """Return what a script prints. Raises AssertionError, with all of it, if it fails."""
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script, "bash", *arguments],
            cwd=folder,
            env={**os.environ, **self.environment, **variables},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.strip()

    def has(self, *arguments: str) -> bool:
        command = ["docker", *arguments]
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, capture_output=True).returncode == 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one worker at a time start and build: the next one finds what is there."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def connect() -> Docker:
    """Return a daemon that has the base images, the same for all workers, or skip the test."""
    need("docker")
    session = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    folder = Path(tempfile.gettempdir()) / f"docker-of-{session}"
    folder.mkdir(exist_ok=True)
    docker = Docker({}, folder)
    with docker.alone():
        if not docker.has("version"):
            docker.environment["DOCKER_HOST"] = f"unix://{folder}/socket"
            if not docker.has("version"):
                start(docker, session)
        if not docker.has("compose", "version"):
            need("docker-compose")
            plugin = folder / "config/cli-plugins/docker-compose"
            plugin.parent.mkdir(parents=True, exist_ok=True)
            plugin.write_text(COMPOSE)
            plugin.chmod(0o755)
            docker.environment["DOCKER_CONFIG"] = str(folder / "config")
        if not docker.has("buildx", "version"):
            docker.environment["DOCKER_BUILDKIT"] = "0"
        for image, make in (("python:3.13-slim", make_python), ("postgres:17", make_postgres)):
            if not docker.has("image", "inspect", image) and not docker.has("pull", image):
                make(docker, image)
    return docker


def start(docker: Docker, session: int) -> None:
    if os.geteuid():
        skip("start Docker's daemon")
    need("dockerd", "mmdebstrap")
    command = ["sh", "-c", DAEMON, "sh", str(session)]
    # Not pytest's output, which ends only when all have closed it.
    null = subprocess.DEVNULL
    subprocess.Popen(command, cwd=docker.folder, stdout=null, stderr=null, start_new_session=True)
    wait_for(lambda: docker.has("version"), 30, (docker.folder / "log").read_text)


def wait_for(condition: Callable[[], object], seconds: float, log: Callable[[], str]) -> None:
    """Raises AssertionError, with the log, if the condition does not become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log()
        time.sleep(0.3)


def make_python(docker: Docker, image: str) -> None:
    """Make an image of Debian's packages and of a Python that is not Debian's own."""
    found = [Path(sys.base_prefix), *Path("~/.pyenv/versions").expanduser().glob("3.13.*")]
    python = found[-1]
    if python == Path("/usr"):
        skip("run the tests with a Python of your own, not Debian's")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        release = Path("/etc/os-release").read_text()
        (suite,) = re.findall(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
        include = f"--include={','.join(PACKAGES.split())}"
        docker.shell('mmdebstrap --quiet --variant=extract "$@"', None, include, suite, str(root))
        for table in ("passwd", "group"):
            shutil.copy(root / f"usr/share/base-passwd/{table}.master", root / "etc" / table)
        shutil.copy(f"/{CERTIFICATES}", root / CERTIFICATES)
        (root / "etc/pip.conf").write_text(f"[global]\ncert = /{CERTIFICATES}\n")
        docker.shell(
            """
            mkdir --parents usr/local
            tar --create --directory "$1" --exclude=__pycache__ --exclude='lib/python3.*/test' \
                --exclude='lib/python3.*/config-*' --exclude='lib/python3.*/site-packages/[!p]*' \
                bin lib | tar --extract --directory usr/local
            sed --in-place '1s|.*|#!/usr/local/bin/python3|' usr/local/bin/pip*
            chroot . /sbin/ldconfig
            tar --create . | docker import --change "ENV SSL_CERT_FILE=/$2" - "$3"
            """,
            root,
            str(python),
            CERTIFICATES,
            image,
        )


def make_postgres(docker: Docker, image: str) -> None:
    """Make an image of this machine's PostgreSQL, or skip the test."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        skip("install PostgreSQL (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "usr/local/bin").mkdir(parents=True)
        (root / "usr/local/bin/start").write_text(START_POSTGRES)
        (root / "usr/local/bin/start").chmod(0o755)
        (root / "Dockerfile").write_text(POSTGRES.format(programs=found[-1]))
        docker.shell(
            """
            ldd "$1"/bin/{initdb,pg_isready,postgres,psql} | awk '$3 ~ "^/" {print $3}' | sort -u |
                tar --create --dereference --exclude='*llvmjit*' --exclude=bitcode --files-from - \\
                    --absolute-names "$1" /usr/share/postgresql | tar --extract
            docker build --quiet --tag "$2" .
            """,
            root,
            str(found[-1].parent),
            image,
        )


@contextmanager
def podman(folder: Path) -> Iterator[Docker]:
    """Yield what runs `podman` with a storage of its own, or skip the test."""
    need("podman", "runc")
    if os.geteuid():
        skip("run the tests as root: only root's podman has the network that they need")
    (folder / "containers.conf").write_text(PODMAN)
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/data"\nrunroot = "{folder}/run"\n'
    )
    podman = Docker(
        {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        },
        folder,
    )
    try:
        yield podman
    finally:
        podman.shell("podman pod rm --all --force --time 0", None)
