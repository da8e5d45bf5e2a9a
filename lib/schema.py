"""Makes the JSON Schemas of the files that runs and capacity searches write from the definitions that write them.

    python -m lib.schema

writes them to `docs/schema`. They describe what this version writes. Readers also accept files without newer fields.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from .capacity.result import Capacity
from .results.event_line import BATCH_FIELDS, HERD_FIELDS, HOST_FIELDS, SIZE_FIELDS, EventLine
from .results.summary import Summary

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def summary_schema() -> dict[str, Any]:
    return _schema(Summary, "Summary of an ocidriver run (--summary-file), schema 1")


def event_schema() -> dict[str, Any]:
    return _schema(
        EventLine,
        "One line of an ocidriver events file (--events-file)",
        optional=(*BATCH_FIELDS, *HERD_FIELDS, *HOST_FIELDS, *SIZE_FIELDS),
    )


def capacity_schema() -> dict[str, Any]:
    return _schema(Capacity, "Result of a capacity search (ocidriver capacity --summary-file), schema 1")


def _schema(
    kind: type[msgspec.Struct], title: str, *, optional: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """Returns a schema that requires all but the `optional` fields; by default, all that have no value if left out.

    Defaults are left out, as only readers use them.
    """
    schema = msgspec.json.schema(kind)
    for each in schema["$defs"].values():
        properties, always = each["properties"], each.get("required", ())
        if (
            optional is None
        ):  # a field whose default is UNSET has no default in the schema, and is not required
            each["required"] = [
                name for name, about in properties.items() if name in always or "default" in about
            ]
        else:
            each["required"] = [name for name in properties if name not in optional]
        for about in properties.values():
            about.pop("default", None)
    return {"$schema": _DIALECT, "title": title, **schema}


FILES: Final = {
    "summary.schema.json": summary_schema,
    "events.schema.json": event_schema,
    "capacity.schema.json": capacity_schema,
}


def text_of(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    folder = Path(__file__).resolve().parents[1] / "docs" / "schema"
    folder.mkdir(exist_ok=True)
    for name, make in FILES.items():
        (folder / name).write_text(text_of(make()), encoding="utf-8")


if __name__ == "__main__":
    main()
