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
<h2>Figures</h2>
<table><tr><th></th><th>found</th></tr>
{figures}</table>
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

    def figures(self) -> list[tuple[str, str]]:
        """What an update costs on this chip: (sentence, value), of what was measured."""
        found = self.measured
        heap = found.get("heap", {})
        rest = found.get("heap_taken_idle")
        kib: list[tuple[str, int | None]] = [
            ("heap taken at rest: application, link, agent", rest),
            ("the same after an update", found.get("heap_taken_after_an_update")),
        ]
        for kind in ("an_image", "an_application"):
            most = found.get(f"heap_taken_by_{kind}")
            added = most - rest if most and rest else None
            kib.append((f"heap that an update of {kind.replace('_', ' ')} adds over rest", added))
        kib += [
            ("least free heap in an update of an image", heap.get("peak")),
            ("least free heap in an update of an application", heap.get("peak, application")),
            ("least free heap in an update over TLS", heap.get("peak, TLS")),
            ("least free C heap over TLS, from the start", _least_c_heap(heap)),
            ("least free C heap in a trial over TLS", heap.get("trial, C heap, TLS")),
        ]
        lines = [(name, f"{value / 1024:.1f} KB") for name, value in kib if value is not None]
        for name, unit, sentence in (
            ("agent_made_ms", "ms", "from the chip's start to an agent that is made"),
            ("second_application_s", "s", "second application, from its head to the first block"),
            ("application_alone_s", "s", "an application alone, until its restart"),
        ):
            if name in found:
                lines.append((sentence, f"{found[name]} {unit}"))
        return lines

    def write(self, folder: Path) -> None:
        """Write report.json and report.html."""
        (folder / "report.json").write_text(json.dumps(vars(self), indent=1, default=repr) + "\n")
        (folder / "report.html").write_text(self._page())

    def _page(self) -> str:
        found = self.figures()
        rows = "".join(_row(test) for test in self.tests)
        return _PAGE.format(
            machine=html.escape(str(self.facts.get("machine", "no board"))),
            version=".".join(map(str, self.facts.get("version", ()))),
            plots=self._plots(),
            figures="".join(f"<tr><td>{name}</td><td>{said}</td></tr>" for name, said in found),
            rows=rows,
            measured=html.escape(json.dumps(self.measured, indent=1, default=repr)),
        )

    def _plots(self) -> str:
        found = {name: value for name, value in self.measured.items() if isinstance(value, dict)}
        updates = {name: value["seconds"] for name, value in found.items() if "seconds" in value}
        every = self.measured.get("heap", {})
        heap = {name: free for name, free in every.items() if "C heap" not in name}
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


def _least_c_heap(heap: dict[str, int]) -> int | None:
    found = [free for name, free in heap.items() if name.endswith("C heap, TLS")]
    return min(found, default=None)


def _row(test: dict[str, Any]) -> str:
    name, reason = html.escape(test["test"]), html.escape(test["reason"])
    outcome = test["outcome"]
    cells = f"<td>{name}</td><td class={outcome}>{outcome}</td>"
    return f"<tr>{cells}<td>{test['seconds']}</td><td>{reason}</td></tr>\n"
