"""All benchmarks, one after the other: the tables of docs/benchmarks.md. Each file also runs alone."""

import api
import decisions
import endpoints
import exec as sessions
import logs
import memory
import pull
import recovery
import registry
import scale
import service
import start

if __name__ == "__main__":
    for benchmark in (start, service, api, endpoints, memory, registry, pull, recovery, decisions, scale, sessions, logs):
        benchmark.main()
