"""What a client writes on stderr around the text of a server."""

from __future__ import annotations


def crane_stderr(answer: str, tries: int) -> str:
    text = f"GET http://h/v2/a/manifests/v: {answer}"
    return f"2026/11/24 18:18:24 retrying {text}\n" * tries + f"Error: {text}\n"


def _quoted(text: str) -> str:
    """As Go quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return escaped.replace("\x1b", "\\x1b").replace("\x07", "\\a")


def skopeo_stderr(message: str) -> str:
    return f'time="2026-11-24T18:18:28Z" level=fatal msg="{_quoted(message)}"\n'


CTR_LOG = (
    'time="2026-11-26T13:25:01Z" level=debug msg="do request" digest="sha256:00" '
    'request.method=GET url="http://h/v2/a/blobs/sha256:00?ns=up.example%3A5000"\n'
    'time="2026-11-26T13:25:01Z" level=debug msg="fetch response received" digest="sha256:00" '
    'response.status="{status}" url="http://h/v2/a/blobs/sha256:00?ns=up.example%3A5000"\n'
)


def ctr_stderr(message: str, *, status: str = "500 Internal Server Error", tries: int = 1) -> str:
    """With a request and its answer before the error, so many times."""
    return CTR_LOG.replace("{status}", _quoted(status)) * tries + f"ctr: {message}\n"
