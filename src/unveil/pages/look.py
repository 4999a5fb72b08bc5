"""How the still page looks: on a screen in either theme, on a phone, and on paper."""

SHEET = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1c1c1e; --soft: #5b5b60; --line: #d9d9d6; --tint: #f1f1ee;
  --mark: #332288; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16171a; --ink: #e9e9e6; --soft: #a9a9ae; --line: #3a3b40; --tint: #212227; --mark: #b3a7f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 Georgia, "Times New Roman", serif; }
header, main, footer { max-width: 56rem; margin: 0 auto; padding: 0 1.25rem; overflow-wrap: anywhere; }
header { padding-top: 2.5rem; }
h1 { font-size: 2rem; line-height: 1.15; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .7rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p { margin: .5rem 0; }
.soft, figcaption, caption { color: var(--soft); }
.lead { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem 1.5rem; margin: 1.3rem 0 0; }
.lead dt { color: var(--soft); font-size: .85rem; }
.lead dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.lead dd small { display: block; font-size: .82rem; color: var(--soft); }
table { width: 100%; border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-size: .85rem; padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .22rem .8rem .22rem 0; border-bottom: 1px solid var(--line); }
thead th { font-size: .82rem; font-weight: normal; color: var(--soft); border-bottom: 1px solid var(--soft); }
tbody th { font-weight: normal; }
.figures tbody th { width: 38%; }
.parts tbody th, .parts thead th, td.number { white-space: nowrap; }
.settings { columns: 2; column-gap: 2rem; margin-top: 1.2rem; }
.settings table { break-inside: avoid; margin-bottom: 1.2rem; }
tbody th.deep { padding-left: 1.2rem; }
td.bar { width: 30%; padding-right: 0; }
td.bar svg { display: block; width: 100%; height: .8rem; }
td.bar rect { fill: var(--mark); }
.advice { margin: .6rem 0 0; padding: .1rem 0 .1rem .9rem; border-left: 3px solid var(--mark); list-style: none; }
.advice li { margin: .3rem 0; }
code, pre { font: .85em/1.45 ui-monospace, Menlo, Consolas, monospace; }
pre { white-space: pre-wrap; background: var(--tint); border-radius: 4px; padding: .6rem .8rem; margin: .3rem 0; }
.gallery { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.2rem 1.5rem; }
figure { margin: 0; }
figure.wide, figure.alone { grid-column: 1 / -1; }
figure.alone { display: grid; grid-template-columns: inherit; gap: inherit; align-items: end; }
figure img { display: block; width: 100%; height: auto; background: #fff; border-radius: 3px; }
figcaption { font-size: .85rem; margin-top: .35rem; }
footer { margin-top: 2.5rem; padding-bottom: 2.5rem; font-size: .85rem; color: var(--soft); }
@media (max-width: 40rem) {
  body { font-size: 15px; }
  h1 { font-size: 1.6rem; }
  .gallery { grid-template-columns: minmax(0, 1fr); }
  figure.alone { display: block; }
  .settings { columns: 1; }
  .stacked, .stacked caption, .stacked tbody, .stacked tr, .stacked th, .stacked td { display: block; }
  .stacked tbody th { width: auto; }
  .stacked thead { position: absolute; clip-path: inset(50%); }
  .stacked tbody th { border: 0; padding-bottom: 0; color: var(--soft); }
  td.bar { width: 25%; } }
@page { margin: 17mm 16mm; }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --tint: #fff; --mark: #332288; }
  body { font-size: 10pt; }
  header, main, footer { max-width: none; padding: 0; }
  header { padding-top: 0; }
  h1 { font-size: 19pt; }
  h2 { font-size: 13pt; margin-top: 7mm; }
  pre { border: 1px solid var(--line); }
  h2, h3, caption { break-after: avoid; }
  figure, tr, pre, .advice li, .stacked, .parts { break-inside: avoid; }
  thead { display: table-header-group; }
  .gallery { gap: 5mm 8mm; }
  .lead { gap: 3mm 6mm; margin-top: 4mm; }
  .lead dd { font-size: 12pt; }
  figure.wide { max-width: 120mm; }
  p { orphans: 3; widows: 3; } }
"""
