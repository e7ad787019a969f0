"""Private environments of the libraries that the benchmarks and the peer tests compare with: their pins exclude each
other, and ours.

    python bench/peers.py list            which there are, and what is installed
    python bench/peers.py make NAME …     create some (or `all`) under bench/.peers; each takes a minute and about 1 GB
    python bench/peers.py make NAME --checkout FOLDER      one that no registry has, imported from its source
    python bench/peers.py env             lines for a shell: RADIOGRAPH_PEER_NAME=…, as `pytest -m peers` wants them
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

HOME = Path(__file__).parent / ".peers"
TORCH = next(
    line for line in (HOME.parent.parent / "constraints.txt").read_text().splitlines() if line.startswith("torch==")
)
PACKAGES = {
    "sparsify": ["eai-sparsify==1.3.3"],
    "saelens": ["sae-lens==6.54.12"],
    "dictionary-learning": ["dictionary-learning==0.1.0", "transformers<5"],
    "transformerlens": ["transformer-lens==3.9.0"],
    "nnsight": ["nnsight"],
    "circuit-tracer": ["circuit-tracer==0.5.0"],
    "interp-lab": ["interp-lab==0.2.0", "safetensors"],
}

CHECKOUTS = {
    # no registry has them: what their modules import, and which repository to check out
    "crosscoder-learning": (
        "science-of-finetuning/crosscoder_learning",
        ["nnsight<0.4", "transformers==4.57.6", "datasets", "einops", "zstandard"],
    ),
    "llamascopium": ("OpenMOSS/Language-Model-SAEs, its src", ["transformer-lens==3.9.0", "more-itertools"]),
    "openai": ("openai/sparse_autoencoder", ["safetensors", "numpy"]),
}


def interpreter(name: str) -> str | None:
    """The Python of a peer's environment, if it was made."""
    path = HOME / name / "bin" / "python"
    return str(path) if (HOME / name / ".made").is_file() else None


def make(name: str, packages: list[str], checkout: Path | None = None) -> None:
    """torch first and by our pin: whatever else asks for it then finds the CPU build there."""
    place = HOME / name
    print(f"{name}: creating {place}", file=sys.stderr)
    venv.create(place, with_pip=True, clear=True)
    for wanted in ([TORCH], packages):
        command = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, *wanted, TORCH], check=True)
    if checkout is not None:
        (site,) = place.glob("lib/python*/site-packages")
        (site / "checkout.pth").write_text(f"{checkout.resolve()}\n")
    # A torchvision that came along was built for another torch, and breaks every import of transformers.
    subprocess.run([place / "bin" / "python", "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"], check=True)
    (place / ".made").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["list", "make", "env"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join([*PACKAGES, *CHECKOUTS])}, or all")
    parser.add_argument("--checkout", type=Path, metavar="FOLDER", help="the folder that holds the package")
    options = parser.parse_args()
    if odd := set(options.names) - {*PACKAGES, *CHECKOUTS, "all"}:
        parser.error(f"no peer {', '.join(sorted(odd))}; there are {', '.join([*PACKAGES, *CHECKOUTS])}, all")
    if options.command == "make":
        sources = [name for name in options.names if name in CHECKOUTS]
        if sources and (len(options.names) > 1 or options.checkout is None or not options.checkout.is_dir()):
            parser.error(f"{sources[0]} alone, with --checkout FOLDER: {CHECKOUTS[sources[0]][0]}")
        if sources:
            make(sources[0], CHECKOUTS[sources[0]][1], options.checkout)
            return
        for name in PACKAGES if "all" in options.names else options.names:
            make(name, PACKAGES[name])
        return
    for name, packages in {**PACKAGES, **{name: needed for name, (_, needed) in CHECKOUTS.items()}}.items():
        python = interpreter(name)
        if options.command == "list":
            print(f"{name:20} {' '.join(packages):40} {python or 'missing'}")
        elif python:
            print(f"RADIOGRAPH_PEER_{name.upper().replace('-', '_')}={python}")


if __name__ == "__main__":
    main()
