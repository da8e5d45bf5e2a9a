"""Artifacts, conversions and signatures: what skopeo says of them, and what the log says where they count as pulls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.clients.classify import classify
from lib.clients.skopeo import Skopeo
from tests.clients.test_status_table import classes, run_over
from tests.doubles.faulty import FaultyRegistry

UPDATING = "creating an updated image manifest: "
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
# Of containers/image 5.22 (skopeo 1.9), 5.29 (1.14) and what skopeo 1.22 has.
WORDS = [
    # Helm charts, ORAS artifacts, WASM modules; layers that are no layers; an index in an index; other manifests
    (f'{UPDATING}unsupported image-specific operation on artifact with type "application/vnd.x"', "unsupported"),
    (f"copying system image from manifest list: {UPDATING}unsupported image-specific operation on artifact with type "
     '"application/vnd.x"', "unsupported"),
    (f'{UPDATING}Unknown media type during manifest conversion: "application/octet-stream"', "unsupported"),
    ("copying system image from manifest list: Unexpectedly received a manifest list instead of a manifest for a "
     "single image", "unsupported"),
    ("initializing image from source docker://h/a:v: unsupported schema version 0", "unsupported"),
    ("writing manifest: Unsupported manifest type, need a Docker schema 2 manifest", "unsupported"),
    ('parsing manifest: unsupported OCIv1 media type: "a/b"', "unsupported"),
    # conversions
    ("Can not convert image to application/vnd.x, preparing DiffIDs for this case is not supported", "unsupported"),
    (f"{UPDATING}Cannot convert an image with 0 history entries to {DOCKER}", "unsupported"),
    (f"{UPDATING}Error converting image: layer edits for 1 layers vs 2 existing layers", "unsupported"),
    (f"{UPDATING}Unsupported conversion type: a/b", "unsupported"),
    (f'{UPDATING}Error during manifest conversion: "a/b": zstd compression is not supported for docker images',
     "unsupported"),
    ('Manifest list must be converted to type "a/b" to be written to destination, but we cannot modify it: "x"',
     "unsupported"),
    ("writing manifest: Manifest lists are not supported for docker tar files", "unsupported"),
    ('Copying this image would require changing layer representation, which we cannot do: "x"', "unsupported"),
    (f"Uploading manifest failed, attempted the following formats: {DOCKER}(x)", "unsupported"),
    ("trying to reuse blob sha3:00 at destination: unexpected digest reference sha3:00: unsupported digest algorithm",
     "unsupported"),
    # encryption and compression
    (f"encryption required but the destination only supports MIME types [{DOCKER}], none of which support encryption",
     "unsupported"),
    (f"compression using zstd required but the destination only supports MIME types [{DOCKER}], none of which support "
     "it", "unsupported"),
    (f'{UPDATING}during manifest conversion: encrypted layers ("a/b") are not supported in docker images',
     "unsupported"),
    ("decrypting layer sha256:00: missing private key needed for decryption", "unsupported"),
    # signatures: that they cannot be kept; that the policy of this machine refuses an image
    ("Can not copy signatures to docker-archive:/dev/null: Storing signatures for docker tar files is not supported",
     "unsupported"),
    ("Source image rejected: A signature was required, but no signature exists", "client"),
    ("Source image rejected: None of the signatures were accepted, reasons: Invalid GPG signature", "client"),
    ("Source image rejected: Running image docker://h/a:v is rejected by policy.", "client"),
    # what a server answers about them is another matter
    ("Source image rejected: reading signatures: downloading signatures for sha256:00 in h/a: StatusCode: 503, x",
     "server-error"),
    ("Source image rejected: reading signature from http://h/s/signature-1: status 403 (Forbidden)", "forbidden"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "error_class"), WORDS)
def test_what_skopeo_says_of_what_is_not_an_image(words: str, error_class: str) -> None:
    quoted = words.replace('"', '\\"')
    failure = classify(Skopeo, 1, f'time="2026-01-01T00:00:00Z" level=fatal msg="{quoted}"\n')
    assert failure.error_class == error_class


# Of containers/image: the codes and usual messages of the registry API, alone at the end.
ALONE = [
    ("unauthorized", "unauthorized"), ("authentication required", "unauthorized"),
    ("denied", "forbidden"), ("requested access to the resource is denied", "forbidden"),
    ("manifest unknown", "not-found"), ("name unknown", "not-found"), ("blob unknown", "not-found"),
    ("manifest blob unknown", "not-found"), ("blob unknown to registry", "not-found"),
    ("repository name not known to registry", "not-found"),
    ("toomanyrequests", "rate-limited"), ("too many requests", "rate-limited"),
    ("unsupported", "unsupported"), ("The operation is unsupported.", "unsupported"),
    ("name invalid", "bad-reference"), ("invalid repository name", "bad-reference"),
    ("tag invalid", "bad-reference"), ("manifest tag did not match URI", "bad-reference"),
    ("digest invalid", "bad-reference"), ("provided digest did not match uploaded content", "bad-reference"),
    ("manifest invalid", "bad-content"),
    ("size invalid", "bad-digest"), ("provided length did not match content length", "bad-digest"),
]  # fmt: skip
# Those that may come with any status between 400 and 499.
OPEN = (
    "unknown", "unknown error", "unavailable", "service unavailable", "manifest unverified",
    "manifest failed signature verification", "blob upload unknown", "blob upload unknown to registry",
    "blob upload invalid", "pagination number invalid", "invalid number of results requested",
)  # fmt: skip
STEPS = (
    "initializing source docker://h/a:v: reading manifest v in h/a: ",
    "initializing source docker://h/a:v: pinging container registry h: ",
    "reading blob sha256:00: fetching blob: ",
)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("end", ["", ":", ": and more"])
@pytest.mark.parametrize(("words", "error_class"), [*ALONE, *((words, "other") for words in OPEN)])
def test_a_code_of_the_specification_may_stand_alone(
    words: str, error_class: str, end: str, step: str
) -> None:
    if end and (words.endswith(".") or "URI" in words):
        pytest.skip("a usual message has nothing behind it")
    stderr = f'time="2026-01-01T00:00:00Z" level=fatal msg="{step}{words}{end}"\n'
    assert classify(Skopeo, 1, stderr).error_class == error_class
    assert Skopeo.unshown(stderr) is not None


@pytest.fixture(scope="module")
def registry() -> Iterator[FaultyRegistry]:
    with FaultyRegistry() as running:
        yield running


IMAGES = ("manifest-chart/a:v1", "manifest-artifact/a:v1", "manifest-nested/a:v1", "good/a:v1")


@pytest.mark.parametrize(
    ("client", "words"), [("crane", " also pulls what is not an image"), ("ctr", " is not an image: ")]
)
def test_artifacts_count_as_pulls_and_the_log_says_so_once(
    client: str, words: str, registry: FaultyRegistry, tmp_path: Path
) -> None:
    ended = run_over(*(tmp_path / "run", client, registry.address, IMAGES), *("--workers=2", "--passes=2"))
    assert ended.status == 0, ended.stderr
    assert set(classes(ended).values()) == {"ok"}
    assert len(ended.events) == 2 * len(IMAGES)
    assert ended.log.count(words) == 1


def test_ctr_does_not_take_an_image_for_an_artifact(registry: FaultyRegistry, tmp_path: Path) -> None:
    ended = run_over(tmp_path / "run", "ctr", registry.address, ["good/a:v1", "manifest-encrypted/a:v1"])
    assert ended.status == 0, ended.stderr
    assert " is not an image" not in ended.log
