"""How fast tasks are placed, without everything around it: a program of the domain crate that prints its own table."""

import os
import subprocess

from common import ROOT


def main():
    cargo = os.environ.get("CARGO", "cargo")
    subprocess.run([cargo, "bench", "--package", "gantry-domain", "--bench", "placement", "--quiet"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
