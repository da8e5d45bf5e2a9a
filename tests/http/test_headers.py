from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.http.headers import Challenge, challenges, next_link, retry_after


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.example/token",service="reg",scope="repository:a:pull,push"',
            [Challenge("bearer", "https://auth.example/token", "reg", "repository:a:pull,push")],
        ),
        ('bearer  REALM = "r" , Service=s', [Challenge("bearer", "r", "s")]),
        (
            'Basic realm="x", Bearer realm="y",scope="z"',
            [Challenge("basic", "x"), Challenge("bearer", "y", "", "z")],
        ),
        ("Negotiate, Basic", [Challenge("negotiate"), Challenge("basic")]),
        (r'Basic realm="a \"quoted\", comma"', [Challenge("basic", 'a "quoted", comma')]),
        ('realm="nobody"', []),
        ("", []),
    ],
)
def test_challenges(header: str, expected: list[Challenge]) -> None:
    assert challenges([header]) == expected


def test_challenges_of_two_headers() -> None:
    assert [each.scheme for each in challenges(["Basic", 'Bearer realm="r"'])] == ["basic", "bearer"]


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('</v2/_catalog?last=a&n=1>; rel="next"', "/v2/_catalog?last=a&n=1"),
        ("<a>;rel=next", "a"),
        ("<a>; rel='next'", "a"),
        ('<a>; REL = "NEXT"', "a"),
        ('<a>; rel="last next"', "a"),
        ('<p>; rel=prev, <a,b;c>; title="x, <y>; rel=prev"; rel=next', "a,b;c"),
        ('<p>; rel="prev"; rel="next"', None),
        ('<a>; title="rel=next"', None),
        ("<a>", None),
        ("a; rel=next", None),
        # one link in a wrong form
        ('/v2/_catalog?next_page=a,b&n=50; rel="next"', "/v2/_catalog?next_page=a,b&n=50"),
        ("https://h/v2/_catalog?last=a;Rel=next", "https://h/v2/_catalog?last=a"),
        ("</v2/_catalog?last=a>", "/v2/_catalog?last=a"),
        ('/v2/_catalog; rel="prev"', None),
        ("</a>; title=next", None),
        ("</a>, </b>", None),
        ("", None),
    ],
)
def test_next_link(header: str, target: str | None) -> None:
    assert next_link([header]) == target


def test_next_link_in_a_second_header() -> None:
    assert next_link(["<a>; rel=prev", "<b>; rel=next"]) == "b"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("3", None, 3.0),
        (" 0 ", None, 0.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:29 GMT", 30.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None, 0.0),
        ("Friday, 31-Dec-99 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:58 GMT", 1.0),
        ("-3", None, None),
        ("1.5", None, None),
        ("soon", None, None),
        ("", None, None),
        (None, None, None),
        ("9" * 5000, None, None),
        ("Fri, 99 Foo 99999", None, None),
    ],
)
def test_retry_after(value: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after(value, date) == seconds


@given(st.text(max_size=200))
def test_junk_is_no_error(text: str) -> None:
    challenges([text])
    next_link([text, f"<a>; rel={text}"])
    seconds = retry_after(text)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("junk", ['"', "<", '<a>;x="', "a=", 'Bearer a="', ",", "\\", "x " * 8])
def test_long_junk_takes_no_time(junk: str) -> None:
    assert next_link([junk * 1_000_000]) is None
    assert len(challenges([junk * 1_000_000])) < 20_000
