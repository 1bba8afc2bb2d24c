#!/usr/bin/env python3
"""Compares what is written about metrics with a Prometheus that scrapes: metrics-check.py http://HOST:PORT FILE...

Of a Grafana dashboard (.json) every expression must find figures; where it ends in "> 0" it shows only what is not well, and
its left side must. Of other files every word assent_... must be a metric, or the beginning of one.
"""
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request


def ask(path, **parameters):
    url = f"{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error.read().decode()}")


def of_dashboard(text):
    for panel in json.loads(text)["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "1m").removesuffix(" > 0")
            yield expression, ask("query", query=expression)["result"]


def of_text(text):
    known = ask("label/__name__/values")
    for word in sorted(set(re.findall(r"\bassent_[a-z0-9_]+", text))):
        yield word, [name for name in known if name.startswith(word)]


address, *paths = sys.argv[1:]
bad = 0
for path in paths:
    with open(path, encoding="utf-8") as file:
        found = list((of_dashboard if path.endswith(".json") else of_text)(file.read()))
    missing = [what for what, figures in found if not figures]
    for what in missing:
        print(f"{path}: no figures: {what}", file=sys.stderr)
    print(f"{path}: {len(found) - len(missing)} of {len(found)} are there")
    bad += len(missing)
sys.exit(bad > 0)
