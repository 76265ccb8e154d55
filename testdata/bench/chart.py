"""Draws what the benchmark has measured as dots on logarithmic scales: time and memory of each tool in terms of hupsert's.

    python chart.py RESULTS SCALE OUT

RESULTS is the benchmark's results.json; of it those of the SCALE are drawn into OUT, an SVG that is the same for the same
results. Like the tables: the median of the ratios within a round.
"""

import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "hupsert", "svg.fonttype": "none", "font.size": 9}

import matplotlib.pyplot as plt

TOOLS = {
    "cp+sync": ("copy and sync", "D", "#777777"),
    "duckdb": ("DuckDB", "o", "#d99a00"),
    "polars": ("Polars", "s", "#2a6fbb"),
    "delta-rs": ("delta-rs", "^", "#2f8f4e"),
    "spark": ("Spark", "v", "#b5402f"),
}
PANELS = {"Wall": "wall clock, times hupsert's", "Peak": "peak memory, times hupsert's"}


def ratio(costs, ours, figure):
    return statistics.median_low(a[figure] / b[figure] for a, b in zip(costs, ours))


def rows(results):
    """A row of the chart for each subject: its label, and its tools' runs."""
    for r in results:
        tools = {t["Tool"]: t["Costs"] for t in r["Tools"] if t["Costs"]}
        if "hupsert" in tools:
            yield (f"{r['Variant']}: " if r["Variant"] else "") + r["Case"], tools


def main():
    results, scale, out = sys.argv[1:]
    kept = pathlib.Path(results)
    measured = [r for r in json.loads(kept.read_text()) if r["Scale"] == scale] if kept.exists() else []
    chart = list(rows(measured))
    if not chart:
        sys.exit(f"nothing is measured yet at scale {scale}: make bench SCALE={scale}")
    figure, axes = plt.subplots(1, len(PANELS), sharey=True, figsize=(9, 1.4 + 0.3 * len(chart)), layout="constrained")
    for axis, (name, title) in zip(axes, PANELS.items()):
        for tool, (label, marker, color) in TOOLS.items():
            points = [(ratio(t[tool], t["hupsert"], name), y) for y, (_, t) in enumerate(chart) if tool in t]
            # A copy's memory says nothing.
            if points and not (name == "Peak" and tool == "cp+sync"):
                axis.scatter(*zip(*points), label=label, marker=marker, color=color, s=28, zorder=3)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axis.axvline(1, color="black", linewidth=1)
        axis.grid(axis="x", color="#dddddd")
        axis.grid(axis="y", color="#eeeeee")
        axis.set_xlabel(title)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(chart)), [label for label, _ in chart])
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.savefig(out, metadata={"Date": None, "Creator": None}, facecolor="white")


if __name__ == "__main__":
    main()
