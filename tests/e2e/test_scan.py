"""Scanning: images pushed by `gantry push`, advisories imported by `gantry scan-db`, findings read by boto3."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from conftest import ROOT, make, wait_until

ADVISORIES = ROOT / "tests/advisories"
DEBIAN_12 = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n'
DPKG = """Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl
Version: 3.0.11-1~deb12u1

Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib
Version: 1:1.2.13.dfsg-1

"""


@pytest.fixture
def registry(scratch):
    """A Gantry without an agent: nothing is run here."""
    gantry = make(scratch, extra=["--no-agent"]).start()
    yield gantry
    gantry.stop()


def tree(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


def push(gantry, folder, reference):
    gantry.run("push", str(folder), reference, "--cmd", '["true"]')


def status(ecr, name, tag):
    image = {"imageTag": tag}
    return ecr.describe_image_scan_findings(repositoryName=name, imageId=image)["imageScanStatus"]


def all_findings(ecr, name, tag, size=2):
    pages = ecr.get_paginator("describe_image_scan_findings").paginate(
        repositoryName=name, imageId={"imageTag": tag}, PaginationConfig={"PageSize": size})
    return [finding for page in pages for finding in page["imageScanFindings"]["findings"]]


def wait(ecr, name, tag):
    waiter = ecr.get_waiter("image_scan_complete")
    waiter.wait(repositoryName=name, imageId={"imageTag": tag}, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_findings_of_an_image_with_packages_of_all_kinds(registry, name, tmp_path):
    ecr = registry.client("ecr")
    done = json.loads(registry.run("scan-db", "import", str(ADVISORIES), "--output", "json").stdout)
    assert done["advisories"] == 28 and done["ecosystems"]["Debian:12"] == 6
    shown = json.loads(registry.run("scan-db", "status", "--output", "json").stdout)
    assert shown == done
    push(registry, tree(tmp_path, {
        "etc/os-release": DEBIAN_12,
        "var/lib/dpkg/status": DPKG,
        "app/requirements.txt": "jinja2==3.1.2\n",
        "app/node_modules/minimist/package.json": '{"name": "minimist", "version": "1.2.5"}',
        "app/Cargo.lock": '[[package]]\nname = "time"\nversion = "0.1.40"\nsource = "registry+x"\n',
    }), f"{name}:1")
    # The database was loaded while the server ran: the scan must not begin before it was noticed.
    started = ecr.start_image_scan(repositoryName=name, imageId={"imageTag": "1"})
    assert started["imageScanStatus"]["status"] == "IN_PROGRESS"
    wait(ecr, name, "1")
    found = all_findings(ecr, name, "1")
    assert [(each["name"], each["severity"]) for each in found] == [
        ("CVE-2026-90001", "CRITICAL"), ("CVE-2026-90021", "CRITICAL"), ("CVE-2026-90003", "HIGH"),
        ("CVE-2026-90025", "HIGH"), ("CVE-2026-90016", "MEDIUM"), ("CVE-2026-90002", "LOW")]
    detail = ecr.describe_images(repositoryName=name)["imageDetails"][0]
    assert detail["imageScanStatus"]["status"] == "COMPLETE"
    assert detail["imageScanFindingsSummary"]["findingSeverityCounts"] == {
        "CRITICAL": 2, "HIGH": 2, "MEDIUM": 1, "LOW": 1}
    with pytest.raises(ecr.exceptions.LimitExceededException):
        ecr.start_image_scan(repositoryName=name, imageId={"imageTag": "1"})

    # The same findings in Inspector's shape.
    ecr.put_registry_scanning_configuration(scanType="ENHANCED", rules=[])
    answer = ecr.describe_image_scan_findings(repositoryName=name, imageId={"imageTag": "1"})
    first = answer["imageScanFindings"]["enhancedFindings"][0]
    assert first["packageVulnerabilityDetails"]["vulnerabilityId"] == "CVE-2026-90001"
    assert first["packageVulnerabilityDetails"]["vulnerablePackages"][0] == {
        "arch": "amd64", "fixedInVersion": "3.0.13-1~deb12u1", "name": "libssl3", "packageManager": "OS",
        "release": "1~deb12u1", "version": "3.0.11"}
    assert first["severity"] == "CRITICAL" and first["score"] == 9.8
    ecr.put_registry_scanning_configuration(scanType="BASIC", rules=[])


def test_no_database_is_not_no_findings_and_a_new_one_counts_at_once(registry, name, tmp_path):
    ecr = registry.client("ecr")
    ecr.create_repository(repositoryName=name, imageScanningConfiguration={"scanOnPush": True})
    assert registry.run("scan-db", "status", check=False).returncode == 1
    push(registry, tree(tmp_path, {"etc/os-release": DEBIAN_12, "var/lib/dpkg/status": DPKG}), f"{name}:1")

    def unavailable():
        try:
            return status(ecr, name, "1")["status"] == "FINDINGS_UNAVAILABLE"
        except ecr.exceptions.ScanNotFoundException:
            return False

    wait_until(unavailable, what="FINDINGS_UNAVAILABLE")
    answer = ecr.describe_image_scan_findings(repositoryName=name, imageId={"imageTag": "1"})
    assert "imageScanFindings" not in answer
    assert "scan-db import" in answer["imageScanStatus"]["description"]

    registry.run("scan-db", "import", str(ADVISORIES))
    wait(ecr, name, "1")
    assert len(all_findings(ecr, name, "1")) == 3
    # And back: an import that says less takes findings away.
    registry.run("scan-db", "import", str(ADVISORIES / "GANTRY-2026-0003.json"))
    wait_until(lambda: len(all_findings(ecr, name, "1")) == 1, what="the findings of the new database")
    assert registry.run("scan-db", "import", "/etc/hostname", check=False).returncode == 1
    assert len(all_findings(ecr, name, "1")) == 1


def test_a_scan_goes_on_after_kill_9(registry, name, tmp_path):
    ecr = registry.client("ecr")
    registry.run("scan-db", "import", str(ADVISORIES))
    # Enough to inflate that the scan is under way when the server dies.
    folder = tree(tmp_path, {"etc/os-release": DEBIAN_12, "var/lib/dpkg/status": DPKG})
    with open(folder / "zeros", "wb") as big:
        big.truncate(512 << 20)
    push(registry, folder, f"{name}:1")
    ecr.start_image_scan(repositoryName=name, imageId={"imageTag": "1"})
    assert status(ecr, name, "1")["status"] == "IN_PROGRESS"
    registry.kill("up", signal.SIGKILL)
    registry.start()
    ecr = registry.client("ecr")
    wait(ecr, name, "1")
    assert len(all_findings(ecr, name, "1")) == 3


def test_the_packages_of_a_real_distribution_are_read(registry, name, tmp_path):
    """The dpkg database of this machine, with thousands of packages as dpkg writes them."""
    ecr = registry.client("ecr")
    installed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${source:Package} ${source:Version}\n"],
        capture_output=True, text=True, check=True).stdout
    sources = {line.split()[1] for line in installed.splitlines() if line.startswith("installed ")}
    advisories = tmp_path / "advisories"
    advisories.mkdir()
    release = "12"
    for number, source in enumerate(sorted(sources)):
        (advisories / f"{number}.json").write_text(json.dumps({
            "id": f"GANTRY-TEST-{number:04d}",
            "affected": [{"package": {"ecosystem": f"Debian:{release}", "name": source},
                          "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}))
    registry.run("scan-db", "import", str(advisories))
    folder = tree(tmp_path / "root", {"etc/os-release": DEBIAN_12})
    os.makedirs(folder / "var/lib/dpkg")
    shutil.copy("/var/lib/dpkg/status", folder / "var/lib/dpkg/status")
    push(registry, folder, f"{name}:1")
    ecr.start_image_scan(repositoryName=name, imageId={"imageTag": "1"})
    wait(ecr, name, "1")
    named = {each["name"] for each in all_findings(ecr, name, "1", 1000)}
    assert named == {f"GANTRY-TEST-{number:04d}" for number in range(len(sources))}


def test_rules_say_what_is_scanned_when_it_comes(registry, name, tmp_path):
    ecr = registry.client("ecr")
    registry.run("scan-db", "import", str(ADVISORIES))
    ecr.put_registry_scanning_configuration(scanType="BASIC", rules=[
        {"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [{"filter": f"{name}/in*", "filterType": "WILDCARD"}]}])
    folder = tree(tmp_path, {"etc/os-release": DEBIAN_12, "var/lib/dpkg/status": DPKG})
    push(registry, folder, f"{name}/out:1")
    push(registry, folder, f"{name}/inside:1")

    def scanned():
        try:
            return status(ecr, f"{name}/inside", "1")["status"] == "COMPLETE"
        except ecr.exceptions.ScanNotFoundException:
            return False

    wait_until(scanned, what="the scan on push")
    with pytest.raises(ecr.exceptions.ScanNotFoundException):
        status(ecr, f"{name}/out", "1")
    answer = ecr.batch_get_repository_scanning_configuration(
        repositoryNames=[f"{name}/inside", f"{name}/out", f"{name}/none"])
    frequencies = {each["repositoryName"]: each["scanFrequency"] for each in answer["scanningConfigurations"]}
    assert frequencies == {f"{name}/inside": "SCAN_ON_PUSH", f"{name}/out": "MANUAL"}
    assert [each["failureCode"] for each in answer["failures"]] == ["REPOSITORY_NOT_FOUND"]
    # What exists already is told of when it is scanned more or less often.
    ecr.put_registry_scanning_configuration(scanType="BASIC", rules=[])

    def told():
        events = registry.run("events", "--output", "json", "--lines", "1000").stdout
        return "ECR Image Scan" in events and "ECR Scan Resource Change" in events

    wait_until(told, what="the events")
