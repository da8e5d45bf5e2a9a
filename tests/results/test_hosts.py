"""A load on several hosts, in words: how many there are, which were lost or limited, and which shares are missing."""

from __future__ import annotations

import json

import pytest

from lib.results.annotations import commands
from lib.results.ending import ending
from lib.results.hosts import losses, planned, trouble, whole_steps, why_no_peak
from lib.results.limit import limit
from lib.results.scalability import steps_of
from lib.results.summary_file import summary_of, summary_text
from lib.results.verdict import verdict
from tests.support.summaries import DOCUMENT, a_host, a_summary

LOST = a_host(2, 3, lost={"at": 312.4, "reason": "worker gone"}, counted_until=310.0)
LOSS = "host host-2 lost at 312.4 s (worker gone), counted until 310.0 s; its share is missing after that"


def test_one_host_needs_no_words() -> None:
    alone = a_summary()
    assert (planned(alone), list(losses(alone)), trouble(alone)) == (1, [], None)
    assert not any(line.startswith("hosts") for line in ending(alone, {}))


def test_the_end_names_the_number_of_hosts_and_says_no_more_if_all_is_well() -> None:
    lines = ending(a_summary(hosts=[a_host(1, 2), a_host(2, 2)], complete=True), {})
    assert lines[0].startswith("tested     cache:8080 with crane 0.20 on 2 hosts, a ramp, ")
    assert not any(line.startswith("hosts") for line in lines)


def test_a_lost_host_is_named_everywhere() -> None:
    run = a_summary(hosts=[a_host(1, 3), LOST, a_host(3, 3)], complete=False)
    assert list(losses(run)) == [LOSS]
    assert f"hosts      {LOSS}" in ending(run, {})
    assert any("the load is not complete" in each and "host-2" in each for each in commands(run, {}))


def test_a_share_without_a_record_is_missing() -> None:
    run = a_summary(hosts=[a_host(1, 3), a_host(3, 3)], complete=False)
    assert (planned(run), trouble(run)) == (3, "no record of share 2/3")
    run = a_summary(hosts=[LOST], complete=False)
    assert trouble(run) == f"{LOSS}; no record of shares 1/3, 3/3"


def test_only_steps_of_all_hosts_can_be_the_peak() -> None:
    steps = [{**DOCUMENT["steps"][0], "hosts": number} for number in (3, 2)]
    hosts = [a_host(1, 3), LOST, a_host(3, 3)]
    run = a_summary(hosts=hosts, complete=False, steps=steps)
    assert list(whole_steps(run)) == list(run.steps[:1])
    assert steps_of(run) == list(run.steps[:1])
    broken = a_summary(hosts=hosts, complete=False, steps=steps[1:], peak=None)
    assert why_no_peak(broken) == "every step lacks a host; repeat the run"
    assert "peak       unknown: every step lacks a host" in ending(broken, {})
    assert "The peak is not known, because every step lacks a host." in verdict(broken)


def test_many_lost_hosts_are_not_all_named() -> None:
    lost = [a_host(k, 9, lost={"at": float(k), "reason": "gone"}, counted_until=k) for k in range(1, 8)]
    (told,) = losses(a_summary(hosts=[*lost, a_host(8, 9), a_host(9, 9)], complete=False))
    assert told.startswith("host host-1 lost at 1.0 s (gone), ")
    assert told.endswith("host host-5 lost at 5.0 s (gone), and 2 more; their shares are missing after that")


@pytest.mark.parametrize("share", ["", "x", "5", "2/0", "1/99999999999"])
def test_a_share_from_a_file_may_be_anything(share: str) -> None:
    run = a_summary(hosts=[a_host(1, 2, share=share)], complete=False)
    assert planned(run) == 1
    assert trouble(run) is None or "no record" in str(trouble(run))


def test_limited_hosts_are_counted_and_named() -> None:
    hosts = [a_host(1, 3), a_host(2, 3, limited_by="client"), a_host(3, 3, limited_by="client")]
    run = a_summary(hosts=hosts, complete=True, limited_by="client")
    assert "hosts      2 of 3 hosts limited: host-2, host-3" in ending(run, {})
    assert limit(run) == (
        "driver and clients used nearly all CPU of 2 of 3 hosts; pull more images per launch (--batch), or use more "
        "hosts"
    )
    assert limit(a_summary(hosts=hosts[:1], complete=True, limited_by="machine")) == (
        "other programs used nearly all CPU of a host; run ocidriver on machines of their own"
    )
    limited = [a_host(number, 3, limited_by="client") for number in (1, 2, 3)]
    every = a_summary(hosts=limited, complete=True, limited_by="client")
    assert limit(every).figure == "all 3 hosts"
    assert limit(a_summary(hosts=limited[:2], complete=True, limited_by="client")).figure == "both hosts"
    assert not any(line.startswith("hosts") for line in ending(every, {}))


def test_no_limit_is_told_of_the_hosts() -> None:
    run = a_summary(hosts=[a_host(1, 2), a_host(2, 2)], complete=True)
    assert limit(run) == "unknown, but not the hosts: their CPU was at most 50 % busy on average"


def test_the_rates_of_a_host_are_one_line_of_the_file() -> None:
    rates = [1.5, None, *map(float, range(100))]
    hosts = [a_host(1, 2, rates=rates, name='"rates": [1,\n2]'), a_host(2, 2, rates=[])]
    document = {**DOCUMENT, "hosts": hosts, "complete": True}
    text = summary_text(summary_of(document))
    assert sum('"rates": [' in line for line in text.splitlines()) == 2
    assert '"rates": [ 1.5, null, 0.0, ' in text
    assert json.loads(text)["hosts"][0]["rates"] == rates
    assert json.loads(text)["hosts"][0]["name"] == hosts[0]["name"]
