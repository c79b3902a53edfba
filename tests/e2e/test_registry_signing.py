"""Images that the registry signs: configured and read by boto3, verified from outside with the certificate that
`gantry registry signing-certificate` prints, also after the server was killed beside it."""

import base64
import hashlib
import json
import signal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID

from conftest import wait_until
from image_clients import Image, Skopeo
from test_image_clients import http

PROFILE = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/release"
SIGNATURE = "application/vnd.cncf.notary.signature"


def sign_everything(gantry):
    gantry.client("ecr").put_signing_configuration(signingConfiguration={"rules": [{"signingProfileArn": PROFILE}]})


def statuses(gantry, repository, tag):
    told = gantry.client("ecr").describe_image_signing_status(repositoryName=repository, imageId={"imageTag": tag})
    return [status["status"] for status in told["signingStatuses"]]


def signatures(gantry, repository, digest):
    found = gantry.client("ecr").list_image_referrers(
        repositoryName=repository, subjectId={"imageDigest": digest}, filter={"artifactTypes": [SIGNATURE]})
    return [referrer["digest"] for referrer in found["referrers"]]


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify(gantry, repository, signature, root):
    """Checks a signature as the specification of the Notary Project says; returns what is signed."""
    manifest = http(gantry, "GET", f"{repository}/manifests/{signature}").json()
    assert manifest["artifactType"] == manifest["config"]["mediaType"] == SIGNATURE
    [layer] = manifest["layers"]
    assert layer["mediaType"] == "application/jose+json"
    envelope = http(gantry, "GET", f"{repository}/blobs/{layer['digest']}").json()
    chain = [base64.b64decode(certificate) for certificate in envelope["header"]["x5c"]]
    told = json.loads(manifest["annotations"]["io.cncf.notary.x509chain.thumbprint#S256"])
    assert told == [hashlib.sha256(certificate).hexdigest() for certificate in chain]
    leaf, last = (x509.load_der_x509_certificate(certificate) for certificate in chain)
    assert last == root
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CODE_SIGNING]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    issuer = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert issuer.critical and issuer.value.ca and issuer.value.path_length == 0
    usage = root.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign
    raw = decoded(envelope["signature"])
    r, s = (int.from_bytes(raw[at:at + 32], "big") for at in (0, 32))
    leaf.public_key().verify(
        encode_dss_signature(r, s), f"{envelope['protected']}.{envelope['payload']}".encode(), ec.ECDSA(hashes.SHA256()))
    protected = json.loads(decoded(envelope["protected"]))
    assert (protected["alg"], protected["io.cncf.notary.signingScheme"]) == ("ES256", "notary.x509")
    target = json.loads(decoded(envelope["payload"]))["targetArtifact"]
    assert target == manifest["subject"]
    return target


def certificate(gantry):
    return x509.load_pem_x509_certificate(gantry.run("registry", "signing-certificate", PROFILE).stdout.encode())


def test_a_pushed_image_is_signed_and_the_signature_verifies(server, name):
    # Whoever verifies can have the certificate before anything is signed.
    root = certificate(server)
    sign_everything(server)
    server.client("ecr").create_repository(repositoryName=name)
    skopeo = Skopeo(server, server.folder / "skopeo")
    skopeo.push(Image(server.folder / "made", "signed"), f"{skopeo.host}/{name}:1")
    wait_until(lambda: statuses(server, name, "1") == ["COMPLETE"], 30, "the signature")
    [image] = server.client("ecr").describe_images(repositoryName=name, imageIds=[{"imageTag": "1"}])["imageDetails"]
    [signature] = signatures(server, name, image["imageDigest"])
    target = verify(server, name, signature, root)
    assert target == {
        "mediaType": image["imageManifestMediaType"], "digest": image["imageDigest"],
        "size": len(http(server, "GET", f"{name}/manifests/1").content)}
    assert certificate(server) == root

    refused = server.run("registry", "signing-certificate", PROFILE.replace("000000000000", "1" * 12), check=False)
    assert refused.returncode != 0 and "belongs to another account" in refused.stderr


def test_nothing_pushed_goes_unsigned_when_the_server_is_killed(server, name):
    sign_everything(server)
    ecr = server.client("ecr")
    ecr.create_repository(repositoryName=name)
    skopeo = Skopeo(server, server.folder / "skopeo")
    skopeo.push(Image(server.folder / "made", "base"), f"{skopeo.host}/{name}:base")
    manifest = http(server, "GET", f"{name}/manifests/base").json()
    for number in range(30):
        text = json.dumps({**manifest, "annotations": {"number": str(number)}})
        ecr.put_image(repositoryName=name, imageTag=str(number), imageManifest=text)
        if number % 10 == 9:
            server.kill("server", signal.SIGKILL)
            server.start()
            ecr = server.client("ecr")
    root = certificate(server)
    for number in range(30):
        wait_until(lambda: statuses(server, name, str(number)) == ["COMPLETE"], 30, "the signature")
        digest = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": str(number)}])["imageDetails"][0][
            "imageDigest"]
        [signature] = signatures(server, name, digest)
        assert verify(server, name, signature, root)["digest"] == digest
    done = server.run("registry", "verify", "--output", "json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
