"""What each fuzz target begins with, findings of the past included, and words to put into it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from tests.support.summaries import DOCUMENT

SEEDS: Final[Mapping[str, Sequence[bytes]]] = {
    "listing": (
        b'c\n{"repositories": ["a", "b/c"]}',
        b'c</v2/_catalog?n=2&last=b>; rel="next"\n{"repositories": ["a", "b"]}\0\0\n{"repositories": ["c", 3, "A"]}',
        b't\n{"name": "a", "tags": ["v1", "-x", "\\ud800"]}',
        b't<list?x>; rel=next\n{"tags": null}\0\0<list?x>; rel=next\n{"tags": []}',
    ),
    "links": (
        b"/v2/_catalog?last=a", b"http://other:1/v2/", b"file:///etc/passwd", b"//evil", b"http://u:p@registry:5000/x",
        b"https://[::1]:99999/", b"http://\xff/", b"v2/%zz", b"http://xn--/", b"\x1b[31m",
    ),
    "headers": (
        b'Bearer realm="https://auth/token",service="s",scope="repository:a:pull,push"', b'Basic realm="x", Bearer a=b',
        b'</v2/_catalog?last=a>; rel="next"', b'<a>; title="x, <y>"; rel=\'prev next\', <b>', b"120",
        b"Fri, 31 Dec 1999 23:59:59 GMT",
    ),
    "sizes": (
        b'\n{"config": {"digest": "sha256:%064x", "size": 3}, "layers": []}' % 1,
        b'\n{"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"digest": "sha256:%064x", '
        b'"platform": {"os": "linux", "architecture": "amd64", "variant": 3}}]}\0\0\n{"layers": [{"size": 1e400}]}' % 1,
        b'\n{"mediaType": [], "layers": {}, "fsLayers": 3}', b"\n[" * 3000,
        b'\n{"layers": [], "config": {"size": true}}',
    ),
    "image_list": (b"a:v1\n# x\n\nb/c@sha256:" + b"a" * 64 + b"\n", b"\xef\xbb\xbfa:v1\r\nA:v\x1b", b"h:5000/a:v1",
        b"[] [] []", b'["a:v1", "quay.io/b@sha256:', b"IMAGE\nx,y:1", b"kind: Pod\n- image: a\n", b"[::1]:5000/a:v1",
    ),
    "docker_config": (
        b'{"auths": {"registry:5000": {"auth": "Ym9iOnB3"}}}',
        b'{"auths": {"https://registry:5000/v1/": {"username": "a", "password": "\\ud800"}}}',
        b'{"credHelpers": {"registry": "x"}, "credsStore": "../x"}',
        b'{"auths": {"registry": {"identitytoken": "t\\r\\n", "registrytoken": "u"}}}',
    ),
    "token": (b'{"token": "t", "expires_in": 300}', b'{"access_token": "t\\n", "expires_in": NaN}', b'{"token": 3}'),
    "summary": (
        json.dumps(DOCUMENT).encode(), json.dumps({**DOCUMENT, "rate": None}).encode(),
        json.dumps({**DOCUMENT, "samples": [{"time": "2026-01-31"}]}).encode(),
        json.dumps({**DOCUMENT, "settings": {"a": 10**400, "b": "\ud800"}}).encode(), b'{"schema": 1}', b"[]",
    ),
    "events": (
        b'{"time": "2026-01-31T12:00:00+00:00", "op": "pull", "image": "a:v1", "outcome": "ok", "seconds": 1, '
        b'"first": true, "class": null}\n{"time": "2026-01-31T12:00:00+00:00", "op": "prune", "outcome": "ok"}\n',
        b'{"time": "0001-01-01T00:00:00+23:59", "op": "pull", "image": "a", "outcome": "failed", "seconds": 1e300}',
        b'{"time": "2026-01-31T12:00:00", "op": "pull", "image": "a", "outcome": "failed", "seconds": 0, "class": '
        b'"\xe2\x80\xa6", "message": "\\ud83d\\ude00"}\n{"time": "2026-01-3',
    ),
    "stderr": (
        b"\x81Error: GET http://h/v2/a/manifests/v: MANIFEST_UNKNOWN: x; map[Tag:v]\n",
        b"\x812026/11/24 18:18:24 retrying GET http://h/v2/a/manifests/v: UNKNOWN: x\n" * 3
        + b"Error: GET http://h/v2/a/manifests/v: UNKNOWN: x\n",
        b'\x81time="2026-11-24T18:18:28Z" level=fatal msg="reading manifest v in h/a: denied: \\"x\\""\n',
        b'\x81Error: Get "http://h/v2/": dial tcp: lookup h: no such host\n', b"\x77panic: runtime error\n",
        b"\x81Error: http2: http2: server sent GOAWAY", b"\x812026/01/01 00:00:00 retrying a\nError: a\n",
        b"\x81ctr: failed to copy: httpReadSeeker: failed open: unexpected status code http://h: 503 - Server message:",
        b'\x80time="2026-11-26T13:25:01Z" level=debug msg="do request" request.header.range="bytes=1-" url="http://h/a"\n',
        b'\x80time="2026-11-26T13:25:01Z" level=debug msg=fetch digest="sha256:0" '
        b"mediatype=application/vnd.oci.image.index.v1+json size=5\n",
    ),
    "answers": (
        b"no such host", b"\nError: GET http://h/v2/a/manifests/v: UNAUTHORIZED: x",
        b"\n2026/01/01 00:00:00 retrying GET http://h/v2/a/manifests/v: UNAUTHORIZED: x\nError: saving: no such host",
        b'\ntime="2026-01-01T00:00:00Z" level=fatal msg="x: denied: forged"', b'"; x509: \\',
        b"; GET http://h/: DENIED: x",
        b'x\n2026/01/01 00:00:00 No matching credentials were found for "h"',
    ),
    "cleaning": (
        b"\xff\x1b[31mBearer abc.def\nBasic x", b"\x20http://u:p@h/?token=x&password=y",
        b"\x80\xe2\x80\xae\xf0\x9f\x98\x80",
        b"\x10\xed\xa0\x80 \"secret\": \"x\"",
    ),
}  # fmt: skip

# What chance would need days to spell.
WORDS: Final = (
    "\n2026/01/01 00:00:00 retrying ", "2026/11/24 18:18:24 ", "\nError: ", "GET http://h:5000/v2/a/manifests/v: ",
    "GET http://h/v2/a/manifests/v: ", "GET http://h/token?service=s: ", "unexpected status code 403 Forbidden: ",
    "unexpected status code 503 Service Unavailable: ", "MANIFEST_UNKNOWN: ", "DENIED: ", "UNKNOWN: ",
    "Content-Length header 5 does not match", 'No matching credentials were found for "h"',
    "multiple errors returned: ", "saving tarball /dev/null: ", "panic: ",
    '\ntime="2026-01-01T00:00:00Z" level=fatal msg="', "StatusCode: 404, ", "errors:\\n", "manifest unknown: ",
    "denied: ", "Failed to delete ", "(404 Not Found)", "too many requests to registry", "no such host",
    "dial tcp: lookup ", "x509: ", "connect: connection refused", "no space left on device", "unexpected EOF",
    "context deadline exceeded", "http2: ", "GOAWAY", 'Get "https://h/v2/": ', "Bearer ", "Basic ", "token=",
    '"password": "', "://u:p@", "; rel=next", 'rel="next"', "<", ">", "realm=", "scope=", '{"repositories": [',
    '{"tags": [', "null", "\\ud800", "\x00\x00", "</v2/_catalog?n=1>; rel=next\n", "sha256:", "auths", "credHelpers",
    "identitytoken", "registrytoken", "access_token", "expires_in", "1e999", "NaN",
)  # fmt: skip
