"""A graph of models as a drawing: an SVG without scripts and styles of its own, in the page's colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from modelwright.core.graph import Graph

WIDTH, ROW, GAP, INDENT, DEEPEST = 360, 44, 10, 20, 6
_LETTER = 6.6  # pixels of a letter of the small line, at most


@dataclass(frozen=True, slots=True)
class Box:
    """One node where it is used: ``depth`` levels below the answer, ``parent`` rows above, under what condition."""

    row: int
    depth: int
    parent: int
    name: str
    kind: str
    edge: str
    says: str


def boxes(graph: Graph) -> list[Box]:
    """The nodes as a tree, the answer first; one that is used again is shown again without what is below it."""
    found: list[Box] = []
    expanded: set[str] = set()

    def visit(name: str, edge: str, depth: int, parent: int) -> None:
        node, row = graph.nodes[name], len(found)
        again = name in expanded and bool(node.below)
        found.append(Box(row, depth, parent, name, node.kind, edge, "as above" if again else node.says))
        if not again:
            expanded.add(name)
            for other, condition in node.edges:
                visit(other, condition, depth + 1, row)

    visit(graph.answer, "", 0, -1)
    return found


def in_words(graph: Graph) -> list[str]:
    """A sentence for each node of the drawing, in its order."""
    seen = dict.fromkeys(box.name for box in boxes(graph))
    return [f"{name} ({graph.nodes[name].kind}): {graph.nodes[name].says}" for name in seen]


def drawing(graph: Graph, *, title: str) -> Markup:
    """The SVG: as wide as its place, at most as its text needs; classes are the stylesheet's."""
    rows = boxes(graph)
    height = len(rows) * (ROW + GAP) - GAP
    words = escape(f"{graph.answer} answers. " + ". ".join(in_words(graph)) + ".")
    parts = [
        f'<svg class="graph" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="graph-title graph-words">',
        f'<title id="graph-title">{escape(title)}</title><desc id="graph-words">{words}</desc>',
        *(part for box in rows for part in _box(box)),
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704 - every text in it is escaped


def _left(depth: int) -> int:
    return min(depth, DEEPEST) * INDENT


def _box(box: Box) -> Iterator[str]:
    left, top = _left(box.depth), box.row * (ROW + GAP)
    if box.parent >= 0:
        from_x, from_y = _left(box.depth - 1) + INDENT // 2, box.parent * (ROW + GAP) + ROW
        to_x = left if box.depth <= DEEPEST else from_x
        yield f'<path d="M{from_x} {from_y}V{top + ROW // 2}H{to_x}"/>'
    size = f'width="{WIDTH - left - 1}" height="{ROW - 1}"'
    yield f'<rect class="{box.kind}" x="{left + 0.5}" y="{top + 0.5}" {size} rx="7"/>'
    yield f'<text class="name" x="{left + 10}" y="{top + 18}">{escape(_cut(box.name, WIDTH - left - 100, 8.2))}</text>'
    yield f'<text class="kind" x="{WIDTH - 10}" y="{top + 18}" text-anchor="end">{box.kind}</text>'
    line = f"{box.edge}: {box.says}" if box.edge else box.says
    yield f'<text x="{left + 10}" y="{top + 35}">{escape(_cut(line, WIDTH - left - 20, _LETTER))}</text>'


def _cut(text: str, pixels: int, letter: float) -> str:
    most = int(pixels / letter)
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
