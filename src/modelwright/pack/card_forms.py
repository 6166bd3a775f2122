"""A model card as Markdown, as a page of its own, and as JSON."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from html import escape
from typing import Any

import yaml

from modelwright.core.record_codec import to_json
from modelwright.pack.card_record import Card, Chart, Section

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;"
    "background:#fff}table{border-collapse:collapse;display:block;overflow-x:auto;font-size:.92rem}th,td{text-align:left;"
    "padding:.2rem .8rem .2rem 0;border-bottom:1px solid #d7dce1;vertical-align:top}dt{font-weight:600}"
    "dd{margin:0 0 .4rem;overflow-wrap:anywhere}figure{margin:1rem 0}figure svg{max-width:100%;height:auto}"
    "figcaption{font-weight:600}"
)


def markdown(card: Card) -> str:
    """Markdown under YAML front matter."""
    front = "---\n" + yaml.safe_dump(dict(card.front), sort_keys=True, allow_unicode=True) + "---"
    return "\n\n".join([front, f"# {card.name}", card.summary, *(_part(one) for one in card.sections)]) + "\n"


def _part(section: Section) -> str:
    parts = [f"## {section.title}", section.text, "\n".join(f"- {k}: {v}" for k, v in section.facts.items())]
    if section.rows:
        lines = [section.headers, tuple("---" for _ in section.headers), *section.rows]
        parts.append("\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines))
    return "\n\n".join(part for part in (*parts, section.after) if part)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def html(card: Card, draw: Callable[[Chart], str] | None = None) -> str:
    """A page that needs nothing else and runs nothing: its own policy forbids it.

    ``draw`` makes an SVG of a chart; without it the page has the tables alone, which hold the same figures.
    """
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    body = "".join(_html_part(section, draw) for section in card.sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(card.name)}: model card</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(card.name)}</h1><p>{escape(card.summary)}</p>{body}</main></body></html>\n"
    )


def _html_part(section: Section, draw: Callable[[Chart], str] | None) -> str:
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in section.facts.items())
    table = ""
    if section.rows:
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in section.headers)
        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in section.rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    after = f"<p>{escape(section.after)}</p>" if section.after else ""
    shown = f"<dl>{facts}</dl>" if facts else ""
    charts = "".join(_figure(chart, draw(chart)) for chart in section.charts) if draw else ""
    return f"<section><h2>{escape(section.title)}</h2>{text}{shown}{charts}{table}{after}</section>"


def _figure(chart: Chart, drawn: str) -> str:
    return f"<figure><figcaption>{escape(chart.title)}</figcaption>{drawn}</figure>"


def as_json(card: Card) -> dict[str, Any]:
    """For scripts."""
    body: dict[str, Any] = to_json(card)
    return body
