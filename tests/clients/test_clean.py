"""Messages of clients as they are shown: cleaned, bounded and without secrets."""

from __future__ import annotations

import pytest

from lib.clean import clean
from lib.clients.classify import classify
from lib.clients.table import client_kind
from tests.support.client_words import crane_stderr


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", ""),
        ("  one\r\ntwo\tthree\x00\n", "one two three"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("a\x7fb\x85c\x9bd", "a b c d"),
        ("a\u2028b\u2029c\u202ed\u2066e\u200ff\ufeffg", "a b c d e f g"),
        (
            "soft\u00adly, tag\U000e0041ged, a\u180eb, non-breaking\u00a0space",
            "soft ly, tag ged, a b, non-breaking space",
        ),
        ("bad \ufffd stays, é and 漢 too", "bad \ufffd stays, é and 漢 too"),
        ("lone \udc80 surrogate", "lone surrogate"),
        ("Authorization: Bearer abc.def-1=", "Authorization: Bearer ***"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
        ("Requesting bearer token: no", "Requesting bearer token: no"),
        ('Bearer realm="http://h/token"', 'Bearer realm="http://h/token"'),
        ("no basic auth credentials", "no basic auth credentials"),
        ("Get https://user:pa@ss@h/v2/: EOF", "Get https://***@h/v2/: EOF"),
        ("docker://h:5000/a@sha256:00", "docker://h:5000/a@sha256:00"),
        ("http://h/?access_token=abc&x=1&password=p", "http://h/?access_token=***&x=1&password=***"),
        ("http://h/?token=abc: EOF", "http://h/?token=*** EOF"),
        ("https://s3/x?X-Amz-Signature=00ff&sig=00", "https://s3/x?X-Amz-Signature=***&sig=***"),
        ('{"token": "abc", "password":"p"}', '{"token": "***", "password":"***"}'),
        ("invalid username/password: unauthorized: no", "invalid username/password: unauthorized: no"),
        (
            "x ##[error]y ###[a]##vso[b ##a[0] #[c] ## [d] a##",
            "x # #[error]y ## #[a]# #vso[b # #a[0] #[c] ## [d] a##",
        ),
        ("#\x00#[error]y", "# #[error]y"),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_clean_bounds_the_length_and_says_so() -> None:
    assert clean("x" * 500) == "x" * 500
    assert clean("x" * 501) == "x" * 499 + "…"
    assert clean("word " * 10, limit=9) == "word wor…"


def test_no_secret_of_a_server_s_text_gets_into_the_message() -> None:
    failure = classify(
        client_kind("crane"),
        1,
        crane_stderr("UNAUTHORIZED: sent Bearer abc.def to http://me:pw@h/?token=t0k", 0),
    )
    assert failure.error_class == "unauthorized"
    for secret in ("abc.def", "pw@", "t0k"):
        assert secret not in failure.message
