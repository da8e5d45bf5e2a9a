"""Image lists: what is read, in which forms, and what is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lib.http.address import parse_endpoint
from lib.listing.image_list import ImageList, ImageListError, Upstreams, parse_image_list
from tests.support.driving import command, drive

DIGEST = "a" * 64
SHA = f"sha256:{DIGEST}"


def read(
    text: str, *, upstream: str = "up.local:5000", name: str = "", layout: str = "", skip: bool = False
) -> ImageList:
    """What a list means for a run with this upstream: Ociregistry, unless another layout is given."""
    registry = parse_endpoint("--registry-url", upstream)
    upstreams = Upstreams(
        registry=registry,
        name=name or registry.name,
        pullthrough=parse_endpoint("--pullthrough-url", "cache:8080"),
        layout=layout or "ociregistry",
        names_others=not layout,
        skip=skip,
    )
    return parse_image_list(text.splitlines(keepends=True), upstreams)


def names(text: str, **options: str) -> list[str]:
    return [image.name for image in read(text, **options).images]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("a:v1\nb/c:v2", ["a:v1", "b/c:v2"]),
        ("# all\n\n   \n\t a:v1 \r\na:v1 # again\nb:v1# x", ["a:v1", "b:v1"]),
        (f"a@{SHA}\na:v1\na@{SHA}", [f"a@{SHA}", "a:v1"]),
        ("\ufeffa:v1", ["a:v1"]),
        ("", []),
    ],
)
def test_image_list(text: str, images: list[str]) -> None:
    assert names(text) == images


@pytest.mark.parametrize(
    ("line", "image"),
    [
        ("quay.io/x/y:v1", "quay.io/x/y:v1"),
        ("QUAY.io/x/y:v1", "quay.io/x/y:v1"),
        ("host:5000/x:v1", "host:5000/x:v1"),
        ("localhost/x:v1", "localhost/x:v1"),
        ("[::1]:5000/x:v1", "[::1]:5000/x:v1"),
        (f"quay.io/x/y@{SHA}", f"quay.io/x/y@{SHA}"),
        (f"quay.io/x/y:v1@{SHA}", f"quay.io/x/y@{SHA}"),
        (f"x/y:v1@{SHA}", f"x/y@{SHA}"),
        # the upstream of the run goes away, whatever its spelling
        ("up.local:5000/x:v1", "x:v1"),
        ("UP.local:5000/a.b/x:v1", "a.b/x:v1"),
        # Docker Hub has several names, and a namespace for names without one
        ("docker.io/x/y:v1", "docker.io/x/y:v1"),
        ("docker.io/nginx:1.25", "docker.io/library/nginx:1.25"),
        ("index.docker.io/nginx:1.25", "docker.io/library/nginx:1.25"),
        ("registry-1.docker.io/library/nginx:1.25", "docker.io/library/nginx:1.25"),
        # no host: no slash follows, or no dot, colon or localhost precedes it
        ("a.b:v1", "a.b:v1"),
        ("localhost:v1", "localhost:v1"),
        ("team/a.b:v1", "team/a.b:v1"),
        # where it is certain that an image is meant, it needs no tag
        ("quay.io/x/y", "quay.io/x/y:latest"),
        ("docker://x/y", "x/y:latest"),
    ],
)
def test_the_first_part_of_a_line_is_a_host_by_dockers_rule(line: str, image: str) -> None:
    assert names(line) == [image]


@pytest.mark.parametrize(
    ("upstream", "name", "line", "image"),
    [
        ("https://registry-1.docker.io", "", "docker.io/x/y:v1", "x/y:v1"),
        ("https://registry-1.docker.io", "", "nginx:1.25", "library/nginx:1.25"),
        ("https://registry-1.docker.io", "", "docker.io/nginx", "library/nginx:latest"),
        ("up:5000", "docker.io", "docker.io/nginx:1.25", "library/nginx:1.25"),
        ("up:5000", "docker.io", "nginx:1.25", "library/nginx:1.25"),
        ("up:5000", "docker.io", "up:5000/x/y:v1", "x/y:v1"),
        ("up:5000", "quay.io", "quay.io/x:v1", "x:v1"),
        ("https://quay.io", "", "quay.io:443/x:v1", "x:v1"),
        ("https://quay.io:443", "", "quay.io/x:v1", "x:v1"),
        ("127.0.0.1:5000", "", "localhost:5000/x:v1", "x:v1"),
        ("127.0.0.1:5000", "", "localhost:5001/x:v1", "localhost:5001/x:v1"),
    ],
)
def test_the_host_of_the_upstream_is_left_away(upstream: str, name: str, line: str, image: str) -> None:
    assert names(line, upstream=upstream, name=name) == [image]


def test_a_name_without_namespace_on_docker_hub_is_hinted_at() -> None:
    (hint,) = read("nginx:1.25\nredis:7\nteam/app:v1", upstream="https://registry-1.docker.io").hints
    assert "2 names" in hint
    assert "nginx is library/nginx" in hint
    assert read("docker.io/nginx:1.25").hints == ()


POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web:v1
spec:
  containers:
  - name: web
    image: "nginx:1.25"   # the server
    imagePullPolicy: Always
    command: [sh, -c, "echo image: x"]
  - image: quay.io/x/y:v1
  - {name: third, image: 'redis:7'}
status:
  containerStatuses:
  - image: sha256:%s
    imageID: docker.io/library/nginx@sha256:%s
"""
PODS = {
    "items": [
        {
            "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}, {"image": "quay.io/x/y:v1"}]},
            "status": {"containerStatuses": [{"image": SHA, "imageID": f"docker.io/library/nginx@{SHA}"}]},
        },
        {"spec": {"initContainers": [{"image": "redis:7"}]}},
    ]
}
FORMS = {
    "jsonpath, blanks": "nginx:1.25 quay.io/x/y:v1 redis:7",
    "jsonpath, a line for each pod": "nginx:1.25, quay.io/x/y:v1, \nredis:7, \n",
    "jsonpath, with the names of pods": "web-1:\tnginx:1.25, quay.io/x/y:v1, \nweb-2:\tredis:7, \n",
    "jsonpath, JSON": '[{"image":"nginx:1.25"},{"image":"quay.io/x/y:v1"}] [{"image":"redis:7"}]',
    "uniq -c": "      2 nginx:1.25\n     11 quay.io/x/y:v1\n      1 redis:7\n",
    "custom-columns": "IMAGE\nnginx:1.25,quay.io/x/y:v1\n<none>\nredis:7\n",
    "custom-columns, two": "NAME    IMAGE\nweb-1   nginx:1.25,quay.io/x/y:v1\nweb-2   redis:7\nweb-3   <none>\n",
    "yaml": POD % (DIGEST, DIGEST),
    "yaml, after a BOM and with CRLF": "\ufeff" + (POD % (DIGEST, DIGEST)).replace("\n", "\r\n"),
    "json": json.dumps(PODS, indent=1),
    "grep image": "  image: nginx:1.25\n- image: 'quay.io/x/y:v1'\n  imagePullPolicy: Always\n  image: redis:7",
    "grep of JSON": '"image": "nginx:1.25",\n"image": "quay.io/x/y:v1",\n"image": "redis:7"\n',
    "describe": f"Image:   nginx:1.25\nImage ID:  docker.io/library/x@{SHA}\nImage: quay.io/x/y:v1\nImage:\tredis:7",
    "a JSON list": '["nginx:1.25", "quay.io/x/y:v1",\n"redis:7"]',
    "part of a JSON list": '"nginx:1.25",\n"quay.io/x/y:v1",\n"redis:7"\n',
    "a YAML list": "- nginx:1.25\n- \"quay.io/x/y:v1\"\n-\t'redis:7'\n",
    "tabs and commas": "nginx:1.25,\tquay.io/x/y:v1\tredis:7",
    "schemes": "docker://nginx:1.25\ndocker-pullable://quay.io/x/y:v1\ndocker://redis:7",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_in_which_fleets_have_their_images(form: str) -> None:
    assert names(FORMS[form]) == ["nginx:1.25", "quay.io/x/y:v1", "redis:7"]


def test_the_id_of_a_containers_image_counts_where_its_name_is_not_there() -> None:
    text = f"imageID: docker-pullable://quay.io/x/y@{SHA}\nimageID: {SHA}\nimageID: ''\n"
    assert names(text) == [f"quay.io/x/y@{SHA}"]


def test_a_manifest_without_images_has_none() -> None:
    assert names("apiVersion: v1\nkind: Service\nspec:\n  selector:\n    app: web:v1\n") == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a", "line 3: a: no tag"),
        ("A:v1", "line 3: A:v1: not a repository name"),
        ("a:v1 b", "line 3: b: no tag"),
        ("web-5f9 1/1 Running 0 5d", "line 3: web-5f9: no tag"),
        ("a:1:2", "line 3: a:1:2: not a repository name"),
        (SHA, "the ID of an image"),
        (f"a:v1@{SHA[:20]}", "not a digest"),
        (f"a:-@{SHA}", "not a tag"),
        ("https://quay.io/x/y:v1", "a URL"),
        # YAML that is no manifest: the values of a Helm chart, the list of `skopeo sync`
        ("registry: quay.io", "registry:: it ends in a colon"),
        ("quay.io:\n  images:\n    x/y: [v1]", "quay.io:: it ends in a colon"),
        ("my_host:5000/x:v1", "not a host"),
        ("quay.io/X:v1", "not a repository name"),
        ("image: {{ .Values.image }}", "a template"),
        ("cache:8080/x:v1", "is the server under test"),
        ("--help:v1", "not a repository name"),
        ("\x1b[31mred:v1", "not a repository name"),
        ("x" * 65536, "no tag"),
        ("a:\udcff", "not a tag"),
    ],
)
def test_a_bad_line_is_named(line: str, words: str) -> None:
    with pytest.raises(ImageListError, match="line 3: ") as caught:
        read(f"# list\na:v1\n{line}")
    message = str(caught.value)
    assert words in message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[\n"a:v1",\n"b:v1"', r"line 3: \"b:v1\": the list is not valid JSON"),
        ('{"a": 1}\n{', r"line 2: {: the list is not valid JSON"),
        (
            "[Summary]: 2 namespaces\n| Pod | Image |",
            r"line 1: \[Summary\].*JSON; .*write one image per line",
        ),
        ('[\n"a:v1",\n"b c"]', r"line 3: b c: "),
        ("NAME IMAGE\nweb a:v1\nweb", r"line 3: web: 1 words below a header of 2"),
    ],
)
def test_a_broken_form_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(ImageListError, match=told):
        read(text)


def test_a_line_of_another_upstream_is_refused_unless_the_layout_can_name_it() -> None:
    with pytest.raises(
        ImageListError, match=r"line 2: quay.io/x:v1: its upstream is quay.io.*--foreign skip"
    ):
        read("up.local:5000/a:v1\nquay.io/x:v1", layout="distribution")
    left = read("quay.io/x:v1\na:v1\nquay.io/x:v1\ndocker.io/y:v1", layout="distribution", skip=True)
    assert ([image.name for image in left.images], left.foreign) == (["a:v1"], 2)
    (note,) = left.notes
    assert "2 images of other upstreams are left out" in note
    assert "quay.io: 1" in note
    assert read("quay.io/x:v1\na:v1", skip=True).foreign == 1  # also where the layout could name it


# --- as a user gives them

URLS = (
    "--pullthrough-url=127.0.0.1:1",
    "--registry-url=127.0.0.1:2",
    "--workers=1",
    "--dry-run",
    "--passes=1",
)


@pytest.mark.parametrize(
    "content", [b"app:v1\n\xff\xfe:v1\n", b"--help\n", b"app:v1\n\x1b[31m\n", b"a" * 100_000, None]
)
def test_a_list_that_cannot_be_used_is_wrong_usage_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "images"
    if content is not None:
        path.write_bytes(content)
    done = subprocess.run(
        command(*URLS, f"--image-list={path}"), capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ocidriver: --image-list: ")
    assert line.isprintable()
    assert len(line) < 600


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("by", ["file", "stdin"])
def test_a_list_in_the_encodings_of_windows(encoding: str, by: str, tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes("a:v1\r\nb:v1\r\n".encode(encoding))
    with path.open() as stdin:
        done = subprocess.run(
            command(*URLS, f"--image-list={path if by == 'file' else '-'}"),
            capture_output=True, text=True, timeout=100, check=False, stdin=stdin,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 selected for the test" in done.stdout


@pytest.mark.parametrize("content", ["", "# nothing\n\n", "IMAGE\n<none>\n"])
def test_an_empty_list_is_told_as_such(content: str, tmp_path: Path) -> None:
    (tmp_path / "images").write_text(content)
    by_file = drive(tmp_path, *URLS, f"--image-list={tmp_path}/images")
    by_stdin = drive(tmp_path, *URLS, "--image-list=-", stdin=content)
    assert (by_file.status, by_stdin.status) == (1, 1)
    assert f"--image-list: {tmp_path}/images names no images; write them into it" in by_file.stderr
    assert "--image-list: stdin names no images; pipe them into it" in by_stdin.stderr


def test_what_is_left_out_is_counted_in_log_and_summary(tmp_path: Path) -> None:
    lines = "quay.io/x:v1\na:v1\nghcr.io/y/z:v1\n"
    refused = drive(tmp_path, *URLS, "--layout=distribution", "--image-list=-", stdin=lines)
    assert refused.status == 2
    assert "line 1: quay.io/x:v1: its upstream is quay.io" in refused.stderr
    skipped = drive(tmp_path, *URLS, "--layout=distribution", "--image-list=-", "--foreign=skip", stdin=lines)
    assert (skipped.status, skipped.summary["pulled"], skipped.summary["foreign"]) == (0, 1, 2)
    assert "2 images of other upstreams are left out" in skipped.log
    nothing = drive(tmp_path, *URLS, "--image-list=-", "--foreign=skip", stdin="quay.io/x:v1\n")
    assert nothing.status == 1
    assert "--foreign skip left out all 1" in nothing.stderr


def test_patterns_filter_and_results_name_the_upstream_of_the_line(tmp_path: Path) -> None:
    options = ("--pullthrough-url=cache:8080", "--registry-url=up.local:5000", "--dry-run", "--passes=1")
    ended = drive(
        tmp_path, *options, "--image-list=-", "--filter=^x",
        "--patterns=^cache:8080/quay.io/x:v1$,^cache:8080/up.local:5000/x:v1$",
        stdin="quay.io/x:v1\nup.local:5000/x:v1\nquay.io/y:v1\n",
    )  # fmt: skip
    assert ended.status == 0, ended.stderr
    assert sorted(event["image"] for event in ended.events) == ["quay.io/x:v1", "x:v1"]
    assert [worker["images"] for worker in ended.summary["workers"]] == [1, 1]
