"""A second reader of pages: strict about what a self-contained, harmless page may hold."""

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}
LINKS = {"result.json", "manifest.json"}
_OUTLINE = "html head meta title style body header main footer nav section article h1 h2 h3 h4 p div span a br"
_CONTENT = (
    "b i small code data del ins dl dt dd ul li table caption thead tbody tr th td figure figcaption details summary"
)
_DRAWING = "svg g path text defs use circle rect clippath tspan"
TAGS = {*_OUTLINE.split(), *_CONTENT.split(), *_DRAWING.split()}


class StrictPage(HTMLParser):
    """Collects text and faults: open elements, foreign elements, handlers, references, repeated ids."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.faults, self.tags = "", [], []
        self._open, self._ids = [], set()
        self.feed(html)
        self.close()
        self.faults += [f"never closed: {tag}" for tag in self._open]

    def handle_starttag(self, tag, attrs):
        self._element(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._element(tag, attrs)

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"{self.getpos()}: </{tag}> closes another")

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.text += data
        elif "url(" in data or "@import" in data:
            self.faults.append("a style sheet that loads")

    def _element(self, tag, attrs):
        self.tags.append(tag)
        if tag not in TAGS:
            self.faults.append(f"element {tag}")
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.faults.append(f"{tag} repeats an attribute")
        for name, value in attrs:
            value = value or ""
            if name.startswith("on") or name in {"src", "srcdoc", "action", "formaction", "background"}:
                self.faults.append(f"{tag} {name}")
            if name in {"href", "xlink:href"} and not (value.startswith("#") or value in LINKS):
                self.faults.append(f"{tag} refers to {value}")
            if name == "style" and "url(" in value.replace("url(#", ""):
                self.faults.append(f"{tag} style loads {value}")
            if name == "id":
                if value in self._ids:
                    self.faults.append(f"id {value} twice")
                self._ids.add(value)
