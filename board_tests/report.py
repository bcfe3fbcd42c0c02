"""What came of a run: JSON for machines, and a page with plots to attach to a bug report."""

import html
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PHASES = ("network", "erase", "write", "read", "hash", "verify", "set_boot")
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Board test</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}
table{{border-collapse:collapse}}
td,th{{padding:.2em .8em;border-bottom:1px solid #ccc;text-align:left}}
.passed{{color:#17632f}}.failed{{color:#a3161c}}.skipped{{color:#666}}svg{{max-width:100%}}</style>
<h1>Board test</h1>
<p>{machine}, MicroPython {version}</p>
{plots}
<h2>Tests</h2>
<table><tr><th>test</th><th>result</th><th>seconds</th><th>reason</th></tr>
{rows}</table>
<h2>Everything measured</h2>
<pre>{measured}</pre></html>
"""


@dataclass
class Report:
    """Everything that is found out. facts: `Device.facts`; measured: by name, JSON values."""

    facts: dict[str, Any] = field(default_factory=dict)
    tests: list[dict[str, Any]] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)

    def ended(self, name: str, outcome: str, seconds: float, reason: str) -> None:
        """Note how a test ended: "passed", "failed" or "skipped"."""
        self.tests.append(
            {"test": name, "outcome": outcome, "seconds": round(seconds, 2), "reason": reason}
        )

    def weigh(self, heap: dict[str, int]) -> None:
        """Note free heap (bytes) by the moment; a moment seen twice keeps the smaller value."""
        found = self.measured.setdefault("heap", {})
        for moment, free in heap.items():
            found[moment] = min(free, found.get(moment, free))

    def write(self, folder: Path) -> None:
        """Write report.json and report.html."""
        (folder / "report.json").write_text(json.dumps(vars(self), indent=1, default=repr) + "\n")
        (folder / "report.html").write_text(self._page())

    def _page(self) -> str:
        rows = "".join(_row(test) for test in self.tests)
        return _PAGE.format(
            machine=html.escape(str(self.facts.get("machine", "no board"))),
            version=".".join(map(str, self.facts.get("version", ()))),
            plots=self._plots(),
            rows=rows,
            measured=html.escape(json.dumps(self.measured, indent=1, default=repr)),
        )

    def _plots(self) -> str:
        found = {name: value for name, value in self.measured.items() if isinstance(value, dict)}
        updates = {name: value["seconds"] for name, value in found.items() if "seconds" in value}
        heap = self.measured.get("heap", {})
        if not updates and not heap:
            return ""
        from matplotlib.figure import Figure  # late: a second to import

        figure = Figure(figsize=(9, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        begun = dict.fromkeys(updates, 0.0)
        for phase in _PHASES:
            values = [seconds.get(phase, 0.0) for seconds in updates.values()]
            left.barh(list(updates), values, left=list(begun.values()), label=phase)
            begun = {name: begun[name] + value for name, value in zip(begun, values, strict=True)}
        left.set_xlabel("seconds")
        left.set_title("Where an update's time goes")
        left.legend(fontsize="small")
        right.bar(list(heap), [value / 1024 for value in heap.values()])
        right.set_title("Free heap (KB)")
        out = io.StringIO()
        figure.savefig(out, format="svg")
        return out.getvalue()[out.getvalue().index("<svg") :]


def _row(test: dict[str, Any]) -> str:
    name, reason = html.escape(test["test"]), html.escape(test["reason"])
    outcome = test["outcome"]
    cells = f"<td>{name}</td><td class={outcome}>{outcome}</td>"
    return f"<tr>{cells}<td>{test['seconds']}</td><td>{reason}</td></tr>\n"
