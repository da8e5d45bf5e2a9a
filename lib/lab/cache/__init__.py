"""A small pull-through cache for the lab. The tests also use it in place of Ociregistry.

It answers as Ociregistry does:

- There are four ways to name the upstream, and a name has at most four path segments.
- A manifest is served once all its blobs are here. If it cannot be fetched, the answer is a bare 500.
- The reference is lower-cased, and OCI deletes are refused.
- `/cmd/prune` and `/cmd/image/list` are the administration.

It adds `/metrics`, slow answers, faults and, with `allow_delete`, real OCI deletes. Nothing here is hardened, so it
listens on loopback only.

It leaves out four traits of Ociregistry: the refusal of manifests over 25 KiB, a prune that damages images of an
upstream whose name has no dot, the damage of two prunes of one image at the same time, and the search for `docker.io`
images under `library/` as well.

    python -m lib.lab.cache --listen 127.0.0.1:0 --upstream 127.0.0.1:5000
"""
