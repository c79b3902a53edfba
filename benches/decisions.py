"""How fast tasks are placed and calls are authorized, without everything around it: programs of the domain crate that
print their own tables."""

import os
import subprocess

from common import ROOT


def main():
    cargo = os.environ.get("CARGO", "cargo")
    subprocess.run([cargo, "bench", "--package", "gantry-domain", "--bench", "placement", "--bench", "policies", "--quiet"],
                   cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
