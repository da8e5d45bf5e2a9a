from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.names import split_reference, valid_digest, valid_repository, valid_tag

SHA = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("a", True),
        ("library/ubuntu", True),
        ("a.b_c__d-e---f/0", True),
        ("a" * 255, True),
        ("a" * 256, False),
        ("a/" * 127 + "b", True),
        ("", False),
        ("A", False),
        ("a//b", False),
        ("/a", False),
        ("a/", False),
        ("../a", False),
        ("a/../b", False),
        ("a..b", False),
        ("a___b", False),
        ("x_/img", False),
        ("-a", False),
        ("--help", False),
        ("a:b", False),
        ("a\n", False),
        ("a\x1b[31m", False),
        ("é", False),
        ("a\u0661", False),
        ("a b", False),
    ],
)
def test_repository(name: str, valid: bool) -> None:
    assert valid_repository(name) is valid


@pytest.mark.parametrize(
    ("tag", "valid"),
    [
        ("latest", True),
        ("V1.2_3-x", True),
        ("_", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        (".a", False),
        ("-a", False),
        ("a b", False),
        ("a\n", False),
        ("a/b", False),
        ("a+b", False),
        ("é", False),
    ],
)
def test_tag(tag: str, valid: bool) -> None:
    assert valid_tag(tag) is valid


@pytest.mark.parametrize(
    ("digest", "valid"),
    [
        (SHA, True),
        ("sha512:" + "f" * 128, True),
        ("sha384:" + "a" * 96, True),
        (SHA[:-1], False),
        (SHA + "0", False),
        ("sha256:" + "F" * 64, False),
        ("md5:" + "0" * 32, False),
        (SHA + "\n", False),
        ("", False),
    ],
)
def test_digest(digest: str, valid: bool) -> None:
    assert valid_digest(digest) is valid


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("a/b:v1", ("a/b", "v1", False)),
        (f"a/b@{SHA}", ("a/b", SHA, True)),
    ],
)
def test_split(text: str, split: tuple[str, str, bool]) -> None:
    assert split_reference(text) == split


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a/b", "no tag or digest"),
        ("a/b:", "not a tag"),
        (":v1", "not a repository name"),
        ("a:-x", "not a tag"),
        ("A:v1", "lower-case"),
        ("host:5000/a:v1", "leave out the registry's host"),
        (f"a:v1@{SHA}", "not both"),
        ("a@sha256:12", "not a digest"),
        ("a@v1", "not a digest"),
        ("a" * 256 + ":v1", "longer than 255"),
    ],
)
def test_split_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        split_reference(text)


@given(st.text(max_size=300))
def test_what_is_split_is_valid_and_joins_again(text: str) -> None:
    try:
        repository, reference, is_digest = split_reference(text)
    except ValueError:
        return
    assert valid_repository(repository)
    assert valid_digest(reference) if is_digest else valid_tag(reference)
    assert text == f"{repository}{'@' if is_digest else ':'}{reference}"


def test_a_long_name_takes_no_time() -> None:
    assert not valid_repository("a-" * 30_000_000)
