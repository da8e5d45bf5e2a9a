"""The counters of the lab's cache."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.images import push
from tests.support.lab_cache import Lab, in_lab


def test_metrics_stand_at_zero_first_and_name_their_types(upstream: str, tmp_path: Path) -> None:
    async def work(running: Lab) -> None:
        assert await running.numbers() == {
            'lab_requests_total{kind="manifest",result="hit"}': 0,
            'lab_requests_total{kind="manifest",result="miss"}': 0,
            'lab_requests_total{kind="blob",result="hit"}': 0,
            'lab_requests_total{kind="blob",result="miss"}': 0,
            'lab_upstream_requests_total{kind="manifest"}': 0,
            'lab_upstream_requests_total{kind="blob"}': 0,
            "lab_upstream_bytes_total": 0,
            "lab_pruned_images_total": 0,
            "lab_pulls_total": 0,
            'lab_faults_total{kind="manifest"}': 0,
            'lab_faults_total{kind="blob"}': 0,
        }
        body = (await running.ask("GET", "/metrics"))[1].decode()
        assert len(re.findall(r"^# TYPE lab_\w+_total counter$", body, re.M)) == 6

    in_lab(upstream, tmp_path, work)


def test_a_pull_counts_once_it_is_whole(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, "whole/one", "v1", b"one", b"two")

    async def work(running: Lab) -> None:
        assert await running.manifest(image) == 200
        assert (await running.ask("HEAD", f"/v2/{image.repository}/manifests/v1"))[0] == 200
        for number, digest in enumerate(image.blobs, 1):
            assert (await running.numbers())["lab_pulls_total"] == 0
            await running.ask("GET", f"/v2/{image.repository}/blobs/{digest}")
            assert (await running.numbers())["lab_pulls_total"] == (number == len(image.blobs))
        for digest in image.blobs:
            await running.ask("GET", f"/v2/{image.repository}/blobs/{digest}")
        assert (await running.numbers())["lab_pulls_total"] == 1

    in_lab(upstream, tmp_path, work)
