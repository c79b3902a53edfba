"""All benchmarks, one after the other: the tables of docs/benchmarks.md. Each file also runs alone."""

import api
import endpoints
import exec as sessions
import memory
import placement
import pull
import recovery
import registry
import scale
import start

if __name__ == "__main__":
    for benchmark in (start, api, endpoints, memory, registry, pull, recovery, placement, scale, sessions):
        benchmark.main()
