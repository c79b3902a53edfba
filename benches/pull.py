"""Pull into an empty image directory until a root filesystem can be mounted, beside `ctr images pull` from the same
registry (Debian's docker-registry), and the cold start of a task from Gantry's own registry. The images are made of
files of this machine's /usr: their sizes and how well they compress are printed.
"""

import gzip
import json
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
import zlib
from pathlib import Path

from common import Gantry, ROOT, table, wait_until
from registry import start_docker_registry

BENCH_PULL = str(ROOT / "target/release/examples/bench_pull")
ROUNDS = int(os.environ.get("BENCH_PULLS", "3"))
# Name, files, uncompressed bytes.
IMAGES = [("large", 13_900, 860_000_000), ("small", 20_000, 390_000_000)]


def candidates():
    """Files of /usr with their sizes, those that compress worse than most left out."""
    for base in ("/usr/share", "/usr/lib", "/usr/bin", "/usr/include", "/usr/local"):
        for folder, folders, files in os.walk(base):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                if not os.path.isfile(path) or os.path.islink(path):
                    continue
                size = os.path.getsize(path)
                if size > 64_000:
                    with open(path, "rb") as file:
                        file.seek(size // 2)
                        sample = file.read(65_536)
                    if len(zlib.compress(sample, 1)) > 0.42 * len(sample):
                        continue
                yield path, size


def make_layer(folder, name, files, size):
    """A tar with about `files` files of about `size` bytes in all, and busybox as its only program that runs."""
    known = list(candidates())
    large = [(path, length) for path, length in known if 200_000 < length < 40_000_000]
    little = [(path, length) for path, length in known if length <= 24_000]
    chosen, total = [], 0
    rest = size - sum(length for _, length in little[:files])
    for path, length in large:
        if total + length < rest:
            chosen.append(path)
            total += length
    for path, length in little[:files - len(chosen)]:
        chosen.append(path)
        total += length
    target = folder / f"{name}.tar"
    with tarfile.open(target, "w") as tar:
        seen = set()

        def add(path, inside):
            for parent in reversed(Path(inside).parents[:-1]):
                if parent not in seen:
                    seen.add(parent)
                    entry = tarfile.TarInfo(str(parent))
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            tar.add(path, inside, recursive=False)

        add("/bin/busybox", "bin/sh")
        # A round of its own for every run of this benchmark: nothing is known of it anywhere.
        marker = folder / "marker"
        marker.write_text(uuid.uuid4().hex)
        add(marker, "marker")
        for path in sorted(chosen):
            add(path, path[1:])
    packed = folder / f"{name}.tar.gz"
    with open(target, "rb") as source, gzip.open(packed, "wb", compresslevel=6) as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
    print(f"{name}: {len(chosen)} files, {target.stat().st_size / 1e6:.0f} MB, "
          f"{packed.stat().st_size / 1e6:.0f} MB as gzip", file=sys.stderr)
    return target, packed, len(chosen)


def digest(path):
    return "sha256:" + hashlib.file_digest(open(path, "rb"), "sha256").hexdigest()


def make_layout(folder, name, tar, packed):
    """An OCI layout of one image, for skopeo."""
    layout = folder / f"{name}-layout"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(document):
        content = json.dumps(document).encode()
        name = hashlib.sha256(content).hexdigest()
        (blobs / name).write_bytes(content)
        return {"digest": f"sha256:{name}", "size": len(content)}

    layer = digest(packed)
    os.link(packed, blobs / layer.split(":")[1])
    config = put({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
                  "rootfs": {"type": "layers", "diff_ids": [digest(tar)]}})
    manifest = put({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer,
                    "size": packed.stat().st_size}]})
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest}]}))
    return layout


def seconds(values):
    return " / ".join(f"{value:.2f}" for value in values)


def pull_gantry(reference, *extra):
    done = subprocess.run([BENCH_PULL, reference, str(ROUNDS), *extra], capture_output=True, text=True, check=True)
    return [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("pull ")]


def pull_ctr(reference):
    folder = Path(tempfile.mkdtemp(prefix="bench-ctr-", dir="/var/tmp"))
    config = folder / "config.toml"
    config.write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{folder}/sock"\n')
    process = subprocess.Popen(["containerd", "--config", str(config)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)

    def ctr(*arguments):
        return subprocess.run(["ctr", "-a", f"{folder}/sock", *arguments], capture_output=True, text=True)

    try:
        wait_until(lambda: ctr("version").returncode == 0, 60, 0.2)
        times = []
        for _ in range(ROUNDS):
            os.sync()
            began = time.perf_counter()
            done = ctr("images", "pull", "--plain-http", reference)
            times.append(time.perf_counter() - began)
            assert done.returncode == 0, done.stderr
            ctr("images", "rm", "--sync", reference)
        return times
    finally:
        process.terminate()
        process.wait(30)
        subprocess.run(["rm", "-rf", str(folder)])


def pulls(folder, layouts):
    registry, address, data = start_docker_registry()
    rows = []
    try:
        for name, layout, text in layouts:
            reference = f"{address}/{name}:1"
            subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{reference}"],
                           check=True)
            rows.append([text, seconds(pull_gantry(reference)), seconds(pull_gantry(reference, "directories")),
                         seconds(pull_ctr(reference))])
    finally:
        registry.terminate()
        registry.wait(30)
        subprocess.run(["rm", "-rf", str(data)])
    table(f"Pull until the root filesystem is ready, s ({ROUNDS} rounds)",
          ["", "Gantry, EROFS", "Gantry, unpacked", "ctr images pull"], rows)


def main():
    folder = Path(tempfile.mkdtemp(prefix="bench-pull-", dir="/var/tmp"))
    try:
        layouts = []
        for name, files, size in IMAGES:
            tar, packed, count = make_layer(folder, name, files, size)
            text = (f"{packed.stat().st_size / 1e6:.0f} MB gzip, {tar.stat().st_size / 1e6:.0f} MB, "
                    f"{count} files, one layer")
            layouts.append((name, make_layout(folder, name, tar, packed), text))
        pulls(folder, layouts)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
