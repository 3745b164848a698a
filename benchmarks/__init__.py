"""Benchmarks: Permalog beside its peers, on the same events and the same server, in one run.

    make bench ARGS="--events 100000 1000000 --json figures.json"

The peers are the *plain table* that one would write by hand, and *the limit*: what PostgreSQL itself can do, bare COPY
into and out of the same indexed table. ``docs/performance.md`` says what the figures mean.
"""
