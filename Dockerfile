# The image for one host and for many: ocidriver with dask.distributed, crane and skopeo.
#   docker build -t registry.example/ocidriver:1 .
#   docker run --rm --read-only --tmpfs /tmp registry.example/ocidriver:1 ocidriver --version
# docs/how-to/run-in-kubernetes.md says more.
ARG DEBIAN=trixie
# Go and crane as in scripts/setup.sh.
ARG GO=1.27.3

FROM golang:${GO}-${DEBIAN} AS crane
ARG CRANE=v0.22.1
# Static: a launch then takes a twentieth less CPU.
RUN CGO_ENABLED=0 GOBIN=/out go install "github.com/google/go-containerregistry/cmd/crane@${CRANE}"

FROM debian:${DEBIAN}-slim AS package
# The release of Debian is what pins its packages.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml MANIFEST.in requirements*.txt README.md LICENSE THIRD_PARTY.md ./
COPY lib lib
# What runs needs no pip.
RUN python3 -m venv /opt/ocidriver \
    && /opt/ocidriver/bin/pip install --no-cache-dir '.[distributed]' \
    && /opt/ocidriver/bin/pip uninstall -y pip

FROM debian:${DEBIAN}-slim
LABEL org.opencontainers.image.title="ocidriver" \
      org.opencontainers.image.description="A load test of pull-through OCI registries with real clients" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 skopeo \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 65532 --user-group --no-create-home --home-dir /home/ocidriver ocidriver \
    && install -d -o ocidriver -g ocidriver /home/ocidriver /results
COPY --from=crane /out/crane /usr/local/bin/crane
COPY --from=package /opt/ocidriver /opt/ocidriver
ENV PATH=/opt/ocidriver/bin:/usr/local/bin:/usr/bin:/bin
# Files with relative names are written here.
WORKDIR /results
# As a number, so that Kubernetes sees that it is not root.
USER 65532:65532
# PID 1 passes signals on and reaps orphans, for `ocidriver …` as for `dask worker …`.
ENTRYPOINT ["python3", "-I", "-m", "ocidriver_lib.container"]
CMD ["ocidriver", "--help"]
