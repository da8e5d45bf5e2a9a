"""What a client's exit status and stderr say about a failed launch: its class, its message, its retries.

Both clients exit 1 for every failure of their own, so the class can only come from stderr. Servers write into
that text: crane prints their error bodies raw, line breaks and escape sequences included, and skopeo quotes
them. Therefore the client's own words are told from the server's first, and the patterns are applied to the
client's words only:

* crane introduces an answer of a server by ``METHOD URL: `` (bare method, bare address) followed by the
  status or by the codes of an OCI error body; all behind them is the server's. Errors that crane found by
  itself hold no such mark, and what they quote from outside stands in quotation marks.
* skopeo's last record is one line, ``level=fatal msg="…"``. Behind the steps that it names (``reading
  manifest …: ``) stands either an error of its own or a status or a code, then the server's text.
"""

from __future__ import annotations

from ..clean import clean, shown
from ..outcomes import ErrorClass, Failure, classify_http
from .classify import classify, retries

__all__ = ["ErrorClass", "Failure", "classify", "classify_http", "clean", "retries", "shown"]
