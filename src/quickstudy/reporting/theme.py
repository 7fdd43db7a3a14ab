"""The style sheet: one set of colours for light and one for dark, which the reader's system chooses between.

The five line colours keep their distance under protanopia, deuteranopia and tritanopia (Machado et al. 2009),
and stand out from their ground by at least 3:1; text is drawn in ink, never in a line's colour.
"""

LIGHT = """
  --ground: #f6f6f4; --surface: #ffffff; --ink: #1b1d21; --soft: #595f69; --hair: #e3e3df; --shade: #eef3fb;
  --c0: #0f5fc2; --c1: #b03a00; --c2: #0b9573; --c3: #86206f; --c4: #b98a00;
  --warn: #a52a14; --warn-ground: #fdf0ec;
"""

DARK = """
  --ground: #131519; --surface: #1b1e23; --ink: #e9eaec; --soft: #a3aab5; --hair: #31353d; --shade: #222c3b;
  --c0: #62adff; --c1: #ff8a4d; --c2: #35b98c; --c3: #e58ad0; --c4: #f0dc7a;
  --warn: #ff9d88; --warn-ground: #33201c;
"""

PAGE = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 64px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4em; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4em 0 .7em; letter-spacing: -.005em; }
p { margin: 0 0 .7em; max-width: 72ch; overflow-wrap: anywhere; text-wrap: pretty; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .9em; }
.verdict { font-size: 1.15rem; line-height: 1.45; }
.trained { color: var(--soft); }
.alarm { max-width: none; margin: 0 0 1.4em; padding: .8em 1em; font-size: 1.1rem; line-height: 1.45;
  color: var(--ink); background: var(--warn-ground); border: 1px solid var(--warn); border-left-width: 6px;
  border-radius: 6px; }
.alarm strong { color: var(--warn); }
ul.alarms { margin: .4em 0 0; padding-left: 1.2em; font-size: 1rem; overflow-wrap: anywhere; }
.card, figure, .tiles > div { background: var(--surface); border: 1px solid var(--hair); border-radius: 10px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px;
  margin: 1.6em 0 0; }
.tiles > div { padding: 14px 16px 12px; }
.tiles > :only-child { max-width: 17rem; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; }
.tiles .big { font-size: 1.7rem; font-weight: 650; line-height: 1.3; letter-spacing: -.015em; }
.tiles .note { color: var(--soft); font-size: .85rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(445px, 100%), 1fr)); gap: 18px; }
.ragged { align-items: start; }
figure { margin: 0; padding: 16px 16px 14px; min-width: 0; }
figcaption { color: var(--soft); font-size: .875rem; line-height: 1.45; margin-top: 8px;
  overflow-wrap: anywhere; }
figcaption strong { color: var(--ink); font-weight: 600; }
.pair > figure > .chart { max-width: 620px; margin: 0 auto; }
.watched { margin: 0 auto; }
.watched img { display: block; width: 100%; height: auto; }
.halves { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 8px; margin-top: 8px; }
.halves p { margin: 0; text-align: center; font-size: .95rem; font-variant-numeric: tabular-nums; }
.still { display: none; }
@media (prefers-reduced-motion: reduce), print { .still { display: inline; } .moving { display: none; } }
.multiples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(235px, 100%), 1fr));
  gap: 10px 14px; }
.nothing { color: var(--soft); margin: 0; }
.card { padding: 16px; margin-top: 14px; }
pre { margin: 0; padding: 12px 14px; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--ground);
  border: 1px solid var(--hair); border-radius: 8px; }
pre span { display: inline-block; max-width: 100%; }
details { margin-top: 14px; background: var(--surface); border: 1px solid var(--hair); border-radius: 10px; }
summary { padding: 11px 16px; cursor: pointer; font-weight: 600; }
details > :not(summary) { margin: 0 16px 16px; }
.scroll { overflow-x: auto; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .9rem; min-width: min(100%, 34rem);
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: 8px; font-size: .875rem; }
th { white-space: nowrap; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--hair); text-align: left; vertical-align: top; }
thead th { white-space: normal; color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
code.run { white-space: nowrap; font-weight: 400; }
td .note { color: var(--soft); }
.numeric { text-align: right; }
td.numeric { white-space: nowrap; }
table.settings td { overflow-wrap: anywhere; }
table.settings th { font-weight: 400; white-space: nowrap; }
.key { display: inline-block; vertical-align: middle; width: 30px; height: 10px; margin-right: 8px; }
footer { margin-top: 3em; color: var(--soft); font-size: .85rem; }
@media (max-width: 560px) {
  main { padding: 20px 8px 48px; }
  header, h2, p, footer { padding: 0 4px; }
  header p, figure p, .alarm p { padding: 0; }
  th { white-space: normal; }
  th, td { padding-right: 9px; }
  h1 { font-size: 1.45rem; }
  figure { padding: 12px 6px; }
  figcaption { padding: 0 4px; }
  .card { padding: 12px 10px; }
  .multiples { grid-template-columns: 1fr 1fr; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 10px; }
  .tiles > div { padding: 10px 12px; }
  .tiles .big { font-size: 1.35rem; }
}
"""

CHART = """
.chart { display: block; width: 100%; height: auto; }
.chart text { font-size: 12.5px; fill: var(--soft); }
.chart .name, .chart .value { fill: var(--ink); }
.chart text.agent, .chart text.best { font-weight: 700; }
.chart .value { font-variant-numeric: tabular-nums; }
.grid { stroke: var(--hair); stroke-width: 1; }
.bar { stroke: var(--line); stroke-width: 9; stroke-opacity: .35; }
.boundary { stroke: var(--soft); stroke-width: 1; stroke-opacity: .45; }
.curve { fill: none; stroke: var(--line); stroke-width: var(--width, 1.8); stroke-dasharray: var(--dash, none);
  stroke-linejoin: round; }
.leader { fill: none; stroke: var(--line); stroke-width: 1; }
.leader.far { stroke-dasharray: 1 4; }
.whisker { stroke: var(--line); stroke-width: 2.5; }
.band { fill: var(--line); fill-opacity: .17; stroke: none; }
.marker, .dot { fill: var(--line); stroke: var(--surface); stroke-width: 1; }
.reward { fill: var(--c0); }
.no-reward { fill: var(--surface); stroke: var(--soft); stroke-width: 1.2; }
.loss { fill: none; stroke: var(--c1); stroke-width: 1.8; }
rect.best { fill: var(--shade); }
.agent { --line: var(--c0); --width: 2.8; }
.practice { --line: var(--c2); --width: 1.4; --dash: 5 2; }
.random { --line: var(--soft); --dash: 1.5 3.5; }
.quiet { --line: var(--soft); --width: 1.4; }
.exact { --line: var(--ink); --dash: 9 4; }
.c0 { --line: var(--c0); } .c1 { --line: var(--c1); } .c2 { --line: var(--c2); }
.c3 { --line: var(--c3); } .c4 { --line: var(--c4); }
.d0 { --dash: none; } .d1 { --dash: 6 3; } .d2 { --dash: 2 2; } .d3 { --dash: 9 3 2 3; }
.thin { --width: 1.5; }
.run { --width: 2.3; }
.band.c1, .band.c2, .band.c3, .band.c4 { fill-opacity: .12; }
.multiples .chart text { font-size: 12px; }
@media (max-width: 560px) { .chart text { font-size: 15.5px; } .multiples .chart text { font-size: 17.6px; } }
"""


def style_sheet() -> str:
    """The whole style sheet; it loads nothing."""
    return (
        f":root {{ color-scheme: light dark; {LIGHT}}}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {DARK}}} }}\n"
        f"@media print {{ :root {{ {LIGHT}}} figure, .tiles > div {{ break-inside: avoid; }} }}\n"
        f"{PAGE}{CHART}"
    )
