"""The values of the options that offer a choice. This module imports nothing heavy, so that `--help` stays fast."""

from __future__ import annotations

from typing import Final

AUTO: Final = "auto"

# --prune-via
BY_CLIENT: Final = "client"
BY_OCIREGISTRY: Final = "ociregistry"
PRUNE_VIA: Final = (AUTO, BY_CLIENT, BY_OCIREGISTRY)

# --arrivals
EVEN: Final = "even"
POISSON: Final = "poisson"
ARRIVALS: Final = (EVEN, POISSON)

# --deal
SPLIT: Final = "split"
ALL: Final = "all"
DEAL: Final = (SPLIT, ALL)

# --foreign
REFUSE: Final = "refuse"
SKIP: Final = "skip"
FOREIGN: Final = (REFUSE, SKIP)

# --metrics-format
TSV: Final = "tsv"
CSV: Final = "csv"
JSONL: Final = "jsonl"
METRICS_FORMATS: Final = (TSV, CSV, JSONL)

# --progress
ALWAYS: Final = "always"
NEVER: Final = "never"
PROGRESS: Final = (AUTO, ALWAYS, NEVER)

# --batch
MOST_IN_A_BATCH: Final = 1000

# --sizes
SIZES: Final = (AUTO, ALWAYS, NEVER)

# --annotations
GITHUB: Final = "github"
NONE: Final = "none"
ANNOTATIONS: Final = (AUTO, GITHUB, NONE)
