"""The look of report.html: one style sheet, embedded, so that the file works offline and prints well.

System fonts; a restrained palette; text has a contrast of at least 4.5:1 in both colour schemes; the charts take their
colours from the same variables. A table that is wider than the page casts a shadow at the edge behind which it goes on.
"""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fafaf8; --card: #ffffff; --ink: #1c1f24; --soft: #59616d; --line: #e2e3e0; --faint: #f1f1ee;
  --accent: #1f5fbf; --second: #b4530f; --third: #6b4fa0; --bar: #b9cff1; --wrong: #d0103a; --shade: 31 95 191;
  --shadow: rgb(0 0 0 / .2); --fade: rgb(255 255 255 / 0);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --card: #1d2024; --ink: #e9eaec; --soft: #a3abb6; --line: #33373d; --faint: #25282d;
    --accent: #7fb0ff; --second: #f0a15e; --third: #b79df0; --bar: #2f4d7d; --wrong: #ff5c7d; --shade: 96 150 240;
    --shadow: rgb(0 0 0 / .7); --fade: rgb(29 32 36 / 0);
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Noto Sans KR",
    sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
header { margin-bottom: 1.75rem; }
.brand { color: var(--soft); font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; margin: 0 0 .4rem; }
h1 { font-size: clamp(1.6rem, 4vw, 2.3rem); line-height: 1.15; letter-spacing: -.02em; font-weight: 650; margin: 0; }
h1, h2, h3, p, li, figcaption { overflow-wrap: anywhere; }
:lang(ko) { word-break: keep-all; }
.lead { color: var(--soft); margin: .6rem 0 0; max-width: 46rem; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; font-weight: 640; margin: 3.2rem 0 .35rem; scroll-margin-top: 1rem; }
h3 { font-size: 1rem; font-weight: 640; margin: 1.9rem 0 .5rem; }
p { margin: .4rem 0 .9rem; max-width: 46rem; }
.note { color: var(--soft); font-size: .92rem; }
.alarm { color: var(--wrong); font-weight: 640; margin: 1rem 0 0; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 1.6rem 0 0; font-size: .9rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; margin: 1.5rem 0 0; }
.tiles + p { margin-top: .9rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .85rem 1rem .8rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.2; font-weight: 640; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.tile.main b { color: var(--accent); }
.tile span { display: block; color: var(--soft); font-size: .82rem; line-height: 1.35; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.1rem; }
ul.plain { padding-left: 1.15rem; margin: .5rem 0; max-width: 48rem; }
ul.plain li { margin: .3rem 0; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; margin: .8rem 0;
  background: linear-gradient(90deg, var(--card) 50%, var(--fade)) local left / 2rem 100% no-repeat,
    linear-gradient(-90deg, var(--card) 50%, var(--fade)) local right / 2rem 100% no-repeat,
    linear-gradient(90deg, var(--shadow), var(--fade)) left / .75rem 100% no-repeat,
    linear-gradient(-90deg, var(--shadow), var(--fade)) right / .75rem 100% no-repeat, var(--card); }
.scroll.tall { max-height: 46rem; overflow-y: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .38rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 550; font-size: .8rem; }
thead th { position: sticky; top: 0; background: var(--card); z-index: 1; }
tbody tr:last-child > * { border-bottom: 0; }
.name, .bar { text-align: left; }
td small, th small { color: var(--soft); font-weight: 400; margin-left: .45em; }
.name small.below { display: block; margin: 0; white-space: normal; font-size: .86em; }
tbody .name { color: var(--ink); font-size: inherit; font-weight: 500; }
td.bar { min-width: 9rem; }
.track { display: inline-block; vertical-align: middle; width: calc(100% - 3.6rem); height: .6rem; border-radius: 3px;
  background: var(--faint); overflow: hidden; }
.track i { display: block; height: 100%; background: var(--accent); border-radius: 3px; }
.track + span { display: inline-block; width: 3.4rem; text-align: right; }
.swatch { display: inline-block; width: .85em; height: .85em; border-radius: 3px; margin-right: .5em;
  vertical-align: -.06em;
  box-shadow: inset 0 0 0 1px rgb(128 128 128 / .55); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; font-size: .88rem; margin: .6rem 0 1rem; padding: 0;
  list-style: none; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: .9rem;
  margin: .9rem 0; }
figure { margin: 0; }
.chart figcaption { font-weight: 600; font-size: .92rem; margin-bottom: .35rem; }
.chart svg { display: block; width: 100%; height: auto; color: var(--soft); overflow: visible; }
.chart .legend { margin: .5rem 0 0; }
.chart .legend li { display: flex; align-items: center; overflow-wrap: anywhere; }
.chart .legend svg { flex: none; width: 26px; height: 8px; margin-right: .5em; }
.strip { margin: 0 0 1.3rem; break-inside: avoid; }
.strip figcaption { font-size: .9rem; margin-bottom: .4rem; display: flex; flex-wrap: wrap; gap: .1rem .9rem;
  justify-content: space-between; }
.strip figcaption span { color: var(--soft); font-variant-numeric: tabular-nums; }
.panels { display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px; }
.panels.five { grid-template-columns: repeat(5, 1fr); }
.panels div { min-width: 0; }
.panels img { display: block; width: 100%; border-radius: 5px; background: var(--faint); }
.panels small { display: block; color: var(--soft); font-size: .76rem; margin-top: .2rem; }
.matrix { width: auto; font-size: .78rem; }
.matrix td { padding: 0; width: 3rem; min-width: 2.6rem; height: 2.1rem; text-align: center;
  border: 1px solid var(--card); }
.matrix th { border: 0; padding: .2rem .6rem; }
.matrix thead th { position: static; vertical-align: bottom; padding-top: .7rem; }
.matrix thead th div { writing-mode: vertical-rl; transform: rotate(180deg); margin: 0 auto; max-height: 9rem;
  overflow: hidden; text-overflow: ellipsis; }
.matrix .diagonal { font-weight: 650; }
img.heat { display: block; width: min(100%, 720px); height: auto; image-rendering: pixelated; border-radius: 6px; }
pre { background: var(--faint); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
  overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details { margin: .7rem 0; }
summary { cursor: pointer; color: var(--accent); font-size: .93rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: .9rem;
  align-items: start; }
.pair .scroll { margin: 0; }
.kv td, .kv th { white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.kv th { width: 38%; text-align: left; }
.kv td { text-align: left; }
.side { display: flex; flex-wrap: wrap; gap: .9rem; align-items: flex-start; margin: .8rem 0; }
.side > * { flex: 0 1 auto; max-width: 100%; min-width: 0; }
.side > :last-child { flex: 1 1 20rem; }
.side .scroll { margin: 0; }
.side h3 { margin-top: 0; }
.better { font-weight: 650; color: var(--accent); }
footer { margin-top: 3.5rem; color: var(--soft); font-size: .82rem; border-top: 1px solid var(--line);
  padding-top: .9rem; }
@media (max-width: 640px) {
  main { padding: 1.5rem 1rem 3rem; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: .6rem; }
  .tiles > :last-child:nth-child(odd) { grid-column: span 2; }
  .tile b { font-size: 1.35rem; }
  .panels, .panels.five { grid-template-columns: repeat(2, 1fr); }
  th, td { padding: .34rem .5rem; }
  td.bar { min-width: 7.5rem; }
  tbody th.name { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --faint: #f3f3f3; --accent: #1f5fbf; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  .scroll, .scroll.tall { overflow: visible; max-height: none; }
  h2 { break-after: avoid; }
  .card, .tile, tr { break-inside: avoid; }
  .track i, .matrix td, .swatch { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
