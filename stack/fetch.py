"""Reads: the pinned poms and requirements. Writes: jars under .cache/stack and the environments of Airflow."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stack.config import CACHE, ROOT, StackError
from stack.part import locked

AIRFLOW_VENV = ROOT / ".airflow-venv"
AIRFLOW_REQUIREMENTS = ROOT / "requirements" / "airflow.txt"
AIRFLOW_2_VENV = ROOT / ".airflow2-venv"
AIRFLOW_2_REQUIREMENTS = ROOT / "requirements" / "airflow2.txt"


def kafka() -> Path:
    """Return the folder of the broker's jars, fetched if need be."""
    return _maven("kafka")


def registry() -> Path:
    """Return the folder of the unpacked registry, fetched if need be."""
    return _maven("registry")


def airflow() -> Path:
    """Return the environment that has Airflow, made if need be."""
    return _venv(AIRFLOW_VENV, AIRFLOW_REQUIREMENTS)


def airflow_2() -> Path:
    """Return the environment that has Airflow 2, made if need be."""
    return _venv(AIRFLOW_2_VENV, AIRFLOW_2_REQUIREMENTS)


STACK: dict[str, Callable[[], Path]] = {"Kafka": kafka, "schema registry": registry, "Airflow": airflow}
TESTS = STACK | {"Airflow 2": airflow_2}
"""What the tests need besides."""


def all_parts(progress: Callable[[str], None], steps: dict[str, Callable[[], Path]] = STACK) -> None:
    """Fetch everything that is missing, side by side."""

    def fetch(name: str) -> None:
        steps[name]()
        progress(f"{name}: fetched")

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(fetch, name) for name in steps]:
            done.result()


def _venv(venv: Path, requirements: Path) -> Path:
    with locked(CACHE / f"{requirements.stem}.lock"):
        stamp = venv / "requirements.sha256"
        wanted = _digest(requirements)
        if stamp.exists() and stamp.read_text() == wanted:
            return venv
        shutil.rmtree(venv, ignore_errors=True)
        _run([sys.executable, "-m", "venv", "--without-pip", str(venv)])
        python = str(venv / "bin" / "python")
        uv = str(Path(sys.executable).with_name("uv"))
        # Several processes import Airflow at once: compile it once instead of in each.
        _run([uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, "-r", str(requirements)])
        stamp.write_text(wanted)
    return venv


def _maven(name: str) -> Path:
    pom = ROOT / "stack" / name / "pom.xml"
    target = CACHE / f"{name}-{_digest(pom)[:12]}"
    needed = ("java",) if target.exists() else ("java", "mvn")
    if missing := [program for program in needed if shutil.which(program) is None]:
        raise StackError(f"{' and '.join(missing)} not found: apt-get install -y openjdk-17-jre-headless maven")
    if target.exists():
        return target
    # Maven's local repository does not bear two downloads at once.
    with locked(CACHE / "maven.lock"):
        if not target.exists():
            unfinished = target.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _run(
                [
                    "mvn",
                    "-q",
                    "-B",
                    "-Dstyle.color=never",
                    "-f",
                    str(pom),
                    f"-Dtarget={unfinished}",
                    "process-resources",
                ]
            )
            unfinished.rename(target)
    return target


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise StackError(f"`{' '.join(argv[:3])} …` ended with {done.returncode}; what it printed stands above")


if __name__ == "__main__":
    try:
        all_parts(print, TESTS)
    except StackError as error:
        sys.exit(f"stack: {error}")
